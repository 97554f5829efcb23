/**
 * Rehearsing a cluster without an NPU: an isolated network of mock instances, and the time they live in.
 *
 * @packageDocumentation
 */
export { Fabric } from '../backend/mock/fabric';
export type { Disturbance } from '../backend/mock/fabric';
export { ManualClock, RealClock, VirtualClock } from '../backend/mock/clock';
export type { Clock } from '../backend/mock/clock';
export { MockBackend } from '../backend/mock/mock-backend';
export type { MockBackendOptions } from '../backend/mock/mock-backend';
export { createFabric } from './create-fabric';
export type { FabricOptions } from './create-fabric';
export { TestFabric } from './test-fabric';
export type { Fault, FaultOperation } from './fault';
export type { InjectedFault } from './fault-list';
export type { NodeRef } from './node-ref';
export type { CallRecord } from './call-record';
export type { Topology, TopologyCache, TopologyLink, TopologyMemory, TopologyNode } from './topology';

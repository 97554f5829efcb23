/**
 * Rehearsing a cluster without an NPU: an isolated network of mock instances, and the time they live in.
 *
 * @packageDocumentation
 */
import { writeBigintsInJSON } from '../bigint-json';

export { Fabric } from '../backend/mock/fabric';
export type { MemoryNetworkOptions } from '../backend/mock/fabric';
export type { Disturbance, Network } from '../backend/mock/network';
export { createTcpFabric, TcpFabric } from '../backend/mock/tcp/tcp-fabric';
export type { TcpFabricOptions } from '../backend/mock/tcp/tcp-fabric';
export type { Arrival, Load, Wire, WireDirection } from '../backend/mock/wire';
export { ManualClock, RealClock, VirtualClock } from '../backend/mock/clock';
export type { Clock } from '../backend/mock/clock';
export { MockBackend } from '../backend/mock/mock-backend';
export type { MockBackendOptions } from '../backend/mock/mock-backend';
export type { Bandwidth, BandwidthTable } from './wire/bandwidth';
export { WIRE_PRESETS } from './wire/presets';
export type { WirePreset } from './wire/presets';
export { WireModel } from './wire/wire-model';
export type { WireModelOptions } from './wire/wire-model';
export type { WireLinkOptions, WireOptions } from './wire/wire-options';
export { createFabric } from './create-fabric';
export type { FabricOptions } from './create-fabric';
export { TestFabric } from './test-fabric';
export type { SharedClock } from './shared/shared-clock';
export type { SharedFabric, SharedFault } from './shared/shared-fabric';
export type { SharedFabricOptions } from './shared/create-shared-fabric';
export type { Fault, FaultOperation } from './fault';
export type { InjectedFault } from './fault-list';
export type { NodeRef } from './node-ref';
export type { CallRecord } from './call-record';
export type { Topology, TopologyCache, TopologyLink, TopologyMemory, TopologyNode } from './topology';

writeBigintsInJSON();

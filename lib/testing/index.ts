/**
 * Rehearsing a cluster without an NPU: an isolated network of mock instances, and the time they live in.
 *
 * @packageDocumentation
 */
export { Fabric } from '../backend/mock/fabric';
export type { Disturbance, Network } from '../backend/mock/network';
export { createTcpFabric, TcpFabric } from '../backend/mock/tcp/tcp-fabric';
export type { TcpFabricOptions } from '../backend/mock/tcp/tcp-fabric';
export { ManualClock, RealClock, VirtualClock } from '../backend/mock/clock';
export type { Clock } from '../backend/mock/clock';
export { MockBackend } from '../backend/mock/mock-backend';
export type { MockBackendOptions } from '../backend/mock/mock-backend';

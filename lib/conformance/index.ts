/**
 * The conformance suite: scenarios recorded from the vendor's library, which any backend must answer alike.
 *
 * @packageDocumentation
 */
export { BackendModuleError } from './backend-module';
export { mockBackends, nativeBackends, tcpMockBackends } from './backends';
export type { BackendSettings, BackendSource, ScenarioBackends } from './backends';
export { childHosts } from './child-host';
export type { ChildHostOptions } from './child-host';
export { BEHAVIOUR_NAMES, describeBackend } from './describe-backend';
export type { LeftOutBehaviour, TestedBackend } from './describe-backend';
export { formatDifference } from './difference';
export type { Difference, DifferenceKind } from './difference';
export { ScenarioError } from './fields';
export { guardRefusals, guardRefusalTable } from './guard-refusals';
export type { GuardRefusal } from './guard-refusals';
export type {
  Crc,
  ForeignCache,
  Host,
  HostProcess,
  HostSource,
  NodeFailure,
  Outcome,
  ScenarioHosts,
  Setting,
} from './host';
export { HostLostError } from './host';
export { localHosts } from './local-host';
export { hostPorts, isolatedPorts } from './ports';
export type { FreePorts } from './ports';
export { runScenario, runScenarioOn, ScenarioRun } from './runner';
export { parseScenario } from './scenario';
export type { Scenario, ScenarioNode } from './scenario';
export { loadScenarios, readScenarios } from './scenario-file';
export type { ReadScenario } from './scenario-file';
export { shippedScenarios } from './shipped-scenarios';
export type { Op, Step } from './step';
export type { Expect, TestKit } from './test-kit';

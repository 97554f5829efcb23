/**
 * The conformance suite: scenarios recorded from the vendor's library, which any backend must answer alike.
 *
 * @packageDocumentation
 */
export { mockBackends, nativeBackends } from './backends';
export type { BackendSource, ScenarioBackends } from './backends';
export { formatDifference } from './difference';
export type { Difference, DifferenceKind } from './difference';
export { ScenarioError } from './fields';
export { guardRefusals, guardRefusalTable } from './guard-refusals';
export type { GuardRefusal } from './guard-refusals';
export { hostPorts, isolatedPorts } from './ports';
export type { FreePorts } from './ports';
export { runScenario } from './runner';
export { parseScenario } from './scenario';
export type { Scenario, ScenarioNode } from './scenario';
export { loadScenarios, readScenarios } from './scenario-file';
export type { ReadScenario } from './scenario-file';
export type { Op, Step } from './step';

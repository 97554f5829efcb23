import type { Calls } from './calls';
import type { CallStep } from './steps';
import type { NodeRecord, World } from './world';

/** A call that is to be made, and where. */
export interface Context {
  readonly world: World;
  readonly calls: Calls;
  readonly step: CallStep;
  readonly number: number;
  readonly node: NodeRecord;
}

/** What every call has that this step makes. */
export function common({ step, number }: Context) {
  return { step: number, operation: step.call, limits: step.limits };
}

import { judge } from './goal';
import type { Goal, Verdict } from './goal';
import { quotients, summarize } from './summary';
import type { Summary } from './summary';

export type Unit = 'GB/s' | 'pulls/s' | 'ns' | 'µs' | 'ms' | 'bytes' | 's';

/** One line of the report. */
export interface Result {
  readonly suite: string;
  readonly name: string;
  readonly unit: Unit;
  readonly value: Summary;
  /** What the value is compared with. */
  readonly rival?: { readonly name: string; readonly value: Summary };
  /** Value over rival, round by round; without a rival, value over goal. */
  readonly ratio?: Summary;
  readonly goal?: Goal & { readonly of: 'value' | 'ratio' };
  readonly verdict?: Verdict;
}

/** A line of the report for what could not be measured: a goal of it is not met, and not missed either. */
export interface Unmeasured {
  readonly suite: string;
  readonly name: string;
  readonly verdict: 'not measured';
  /** What is missing, and how to get it. */
  readonly reason: string;
}

export type Line = Result | Unmeasured;

export function isMeasured(line: Line): line is Result {
  return line.verdict !== 'not measured';
}

/** A measurement by itself; a goal is one of the value. */
export function single(suite: string, name: string, unit: Unit, samples: readonly number[], goal?: Goal): Result {
  const value = summarize(samples);
  if (goal === undefined) return { suite, name, unit, value };
  const ratio = summarize(samples.map((sample) => sample / goal.bound));
  return { suite, name, unit, value, ratio, goal: { ...goal, of: 'value' }, verdict: judge(goal, value) };
}

/** A measurement and its rival, taken in the same rounds; a goal is one of their ratio. */
export function compared(
  suite: string,
  name: string,
  unit: Unit,
  samples: readonly number[],
  rival: { readonly name: string; readonly samples: readonly number[] },
  goal?: Goal,
): Result {
  const ratio = summarize(quotients(samples, rival.samples));
  const result = {
    suite,
    name,
    unit,
    value: summarize(samples),
    rival: { name: rival.name, value: summarize(rival.samples) },
    ratio,
  };
  return goal === undefined ? result : { ...result, goal: { ...goal, of: 'ratio' }, verdict: judge(goal, ratio) };
}

/**
 * Whether a goal is missed by more than the noise (what is missed within it is for a reader to judge), or could not be
 * measured.
 */
export function missesGoal(lines: readonly Line[]): boolean {
  return lines.some(({ verdict }) => verdict === 'missed' || verdict === 'not measured');
}

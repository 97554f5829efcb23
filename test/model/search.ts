import fc from 'fast-check';
import type { RunOptions } from './comparison';
import { compare, ModelDifference } from './comparison';
import { runs } from './random-run';
import type { Run } from './step';

export interface SearchOptions extends RunOptions {
  readonly seed: number;
  readonly runs: number;
  /** Where a run that failed is found again at once. */
  readonly path?: string;
}

/** A run that tells mock and model apart, made as short as it gets. */
export interface Counterexample {
  readonly seed: number;
  readonly path: string;
  readonly difference: ModelDifference;
}

/** The steps of a run at most, besides its beginning. */
export const MAX_STEPS = 100;

/** Looks for a run on which model and backend differ. @returns `undefined` when there is none among `runs` random ones */
export async function search(options: SearchOptions): Promise<Counterexample | undefined> {
  const { seed, path } = options;
  const property = fc.asyncProperty(runs(MAX_STEPS), async (run) => {
    const difference = await differenceOf(run, options);
    if (difference !== undefined) throw difference;
  });
  const parameters = { seed, numRuns: options.runs, unbiased: true, ...(path === undefined ? {} : { path }) };
  const result = await fc.check(property, parameters);
  if (!result.failed) return undefined;
  const { errorInstance, counterexamplePath } = result;
  if (!(errorInstance instanceof ModelDifference)) throw errorInstance;
  return { seed, path: counterexamplePath ?? '', difference: await minimised(errorInstance, options) };
}

async function differenceOf(run: Run, options: RunOptions): Promise<ModelDifference | undefined> {
  try {
    await compare(run, options);
    return undefined;
  } catch (error) {
    if (error instanceof ModelDifference) return error;
    throw error;
  }
}

/** Leaves out steps, many at a time and then one by one, as long as there is a difference: shrinking looks at one end only. */
async function minimised(found: ModelDifference, { newBackends }: RunOptions): Promise<ModelDifference> {
  let difference = found;
  const options = newBackends === undefined ? {} : { newBackends };
  for (let size = found.run.steps.length; size >= 1; size = Math.floor(size / 2)) {
    let start = 0;
    while (start < difference.run.steps.length) {
      const { run } = difference;
      const steps = run.steps.filter((_, i) => i < start || i >= start + size);
      const shorter = await differenceOf({ ...run, steps }, options);
      if (shorter === undefined) start += size;
      else difference = shorter;
    }
  }
  return difference;
}

/** What to print of a counterexample, with the command that finds it again. */
export function describeCounterexample({ seed, path, difference }: Counterexample): string {
  const { run, calls } = difference;
  const lines = [
    `Model and backend differ after ${calls.length} calls on ${run.nodes} nodes (${run.engine}, guards ${run.guards ? 'on' : 'off'}):`,
    ...calls.map((call, i) => `  ${i + 1}. ${call}`),
    ...difference.message.split('\n'),
    `Again: npm run fuzz -- --seed ${seed} --path ${path}`,
  ];
  return lines.join('\n');
}

/** The seed of the next search in a row: the generator of Numerical Recipes, in the 31 bits that fast-check takes. */
export function nextSeed(seed: number): number {
  return (Math.imul(seed, 1_664_525) + 1_013_904_223) & 0x7fff_ffff;
}

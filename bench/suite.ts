import type { Result } from './result';
import type { RoundOptions } from './rounds';

export interface SuiteOptions extends RoundOptions {
  /** Bytes of all tensors of one side of a bandwidth measurement: more than any cache of the processor holds. */
  readonly workingSet: number;
}

/** Measurements that belong together; `--only` takes their name. */
export interface Suite {
  readonly name: string;
  /** What is measured, and how. */
  readonly title: string;
  run(options: SuiteOptions): Promise<Result[]>;
}

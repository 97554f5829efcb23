import type { Line } from './result';
import type { RoundOptions } from './rounds';

export interface SuiteOptions extends RoundOptions {
  /** Bytes of all tensors of one side of a bandwidth measurement: more than any cache of the processor holds. */
  readonly workingSet: number;
}

/** Which of the package's backends is measured. */
export type SuiteBackend = 'mock' | 'native';

/** Measurements that belong together; `--only` takes their name. */
export interface Suite {
  readonly name: string;
  /** What is measured, and how. */
  readonly title: string;
  readonly backend: SuiteBackend;
  run(options: SuiteOptions): Promise<readonly Line[]>;
}

import type { Line } from './result';

/** What the process of a native suite is asked. */
export interface NativeRequest {
  readonly suite: string;
  readonly rounds: number;
  readonly milliseconds: number;
}

/** What it answers. */
export interface NativeReport {
  readonly lines: readonly Line[];
}

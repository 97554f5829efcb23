import type { Measurement, WorldSize } from './world';

/** What the worker of a world is asked; `build` comes first. */
export type WorldRequest =
  | { readonly kind: 'build'; readonly size: WorldSize }
  | { readonly kind: 'run'; readonly measurement: Measurement; readonly operations: number }
  | { readonly kind: 'close' };

/** What it answers, one answer per request. */
export interface WorldReport {
  readonly milliseconds: number;
  /** Of `build` only. */
  readonly built?: Built;
}

export interface Built {
  readonly links: number;
  readonly secondsToStart: number;
  readonly secondsToLink: number;
  /** Heap bytes that the links take: both ends of each, and what either end knows of the other. */
  readonly heapBytes: number;
}

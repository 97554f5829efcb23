import type { Refusal } from '../refusal';

/** How long a call waits for its peer, all its exchanges together. Connections are real, and so is the time. */
export class TimeLimit {
  readonly #end: number;

  constructor(
    milliseconds: number,
    /** What the call ends with then. */
    readonly refusal: () => Refusal,
  ) {
    this.#end = performance.now() + milliseconds;
  }

  /** Milliseconds; 0 or less when it is over. */
  get left(): number {
    return this.#end - performance.now();
  }
}

/** Milliseconds of a clock that all processes of a host share and that nobody sets. */
export function hostMilliseconds(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}

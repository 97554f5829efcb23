import { nodeTimers } from '../../../node-timers';
import type { Clock } from '../clock';
import type { Refusal } from '../refusal';

export interface TimeLimitOptions {
  /** Milliseconds that the call allows. */
  readonly ms: number;
  /** By how much the peer may take longer in real time. */
  readonly patience: number;
  /** The clock of the instance that calls. */
  readonly clock: Clock;
  /** What the call ends with when they are over. */
  readonly refusal: () => Refusal;
}

/**
 * How long a call waits for its peer, all its exchanges together. Connections are real, and so is the time; where a test has
 * put something between the two, the time is that of the test.
 */
export class TimeLimit {
  readonly refusal: () => Refusal;
  readonly #end: number;
  readonly #clock: Clock;
  readonly #endOnClock: number;

  constructor({ ms, patience, clock, refusal }: TimeLimitOptions) {
    this.refusal = refusal;
    this.#end = nodeTimers.now() + ms * patience;
    this.#clock = clock;
    this.#endOnClock = clock.now() + ms;
  }

  /** Milliseconds; 0 or less when it is over. */
  get left(): number {
    return this.#end - nodeTimers.now();
  }

  /** Settles when the time is over on the clock of the instance. */
  passOnClock(): Promise<void> {
    return this.#clock.sleep(Math.max(this.#endOnClock - this.#clock.now(), 0));
  }
}

/** Milliseconds of a clock that all processes of a host share and that nobody sets. */
export function hostMilliseconds(): number {
  return Number(nodeTimers.hostNanoseconds() / 1_000_000n);
}

import type { DeadlineClock } from './backend/backend';
import { nodeTimers } from './node-timers';

/** The longest delay that a timer of Node takes; a longer one would end at once. */
export const LONGEST_DELAY = 2 ** 31 - 1;

/** A moment after which something is not waited for any longer. */
export class Deadline {
  readonly #rest: () => number;
  readonly #expire: () => void;
  readonly #clock: DeadlineClock | undefined;
  readonly #keepsAlive: boolean;
  #timer: NodeJS.Timeout | undefined;
  #lastTurn: NodeJS.Immediate | undefined;
  #callOff: (() => void) | undefined;

  /**
   * @param milliseconds from now on; any number of them
   * @param rest asked when they have passed: how many more there are to wait; 0 or less when it is over
   * @param expire called once, unless {@link end} was called before
   * @param clock whose milliseconds; real ones without one, whatever fake timers a test has installed
   * @param keepsAlive whether the process does not end before
   */
  constructor(milliseconds: number, rest: () => number, expire: () => void, clock?: DeadlineClock, keepsAlive = true) {
    this.#rest = rest;
    this.#expire = expire;
    this.#clock = clock;
    this.#keepsAlive = keepsAlive;
    this.#arm(milliseconds);
  }

  /** What was waited for has come. */
  end(): void {
    nodeTimers.clearTimeout(this.#timer);
    nodeTimers.clearImmediate(this.#lastTurn);
    this.#callOff?.();
  }

  #arm(milliseconds: number): void {
    if (this.#clock === undefined) {
      this.#armTimer(milliseconds);
      return;
    }
    this.#callOff = this.#clock.deadline(milliseconds, () => {
      this.#askForRest();
    });
  }

  #armTimer(milliseconds: number): void {
    const delay = Math.min(Math.ceil(milliseconds), LONGEST_DELAY);
    this.#timer = nodeTimers.setTimeout(() => {
      if (delay < milliseconds) {
        this.#armTimer(milliseconds - delay);
        return;
      }
      // After a long task of the event loop timers come first: an answer that has been here all along is due next, and
      // settles a turn later where the mock gets it.
      this.#lastTurn = nodeTimers.setImmediate(() => {
        this.#lastTurn = nodeTimers.setImmediate(() => {
          this.#askForRest();
        });
      });
    }, delay);
    if (!this.#keepsAlive) this.#timer.unref();
  }

  #askForRest(): void {
    const rest = this.#rest();
    if (rest > 0) this.#arm(rest);
    else this.#expire();
  }
}

// Node's own, which is not replaced where the clock of a test is.
import { clearImmediate, setImmediate } from 'node:timers';

/** The longest delay that a timer of Node takes; a longer one would end at once. */
const LONGEST_DELAY = 2 ** 31 - 1;

/** A moment after which something is not waited for any longer. */
export class Deadline {
  readonly #rest: () => number;
  readonly #expire: () => void;
  #timer: NodeJS.Timeout | undefined;
  #lastTurn: NodeJS.Immediate | undefined;

  /**
   * @param milliseconds from now on; any number of them
   * @param rest asked when they have passed: how many more there are to wait; 0 or less when it is over
   * @param expire called once, unless {@link end} was called before
   */
  constructor(milliseconds: number, rest: () => number, expire: () => void) {
    this.#rest = rest;
    this.#expire = expire;
    this.#arm(milliseconds);
  }

  /** What was waited for has come. */
  end(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#lastTurn);
  }

  #arm(milliseconds: number): void {
    const delay = Math.min(Math.ceil(milliseconds), LONGEST_DELAY);
    this.#timer = setTimeout(() => {
      if (delay < milliseconds) {
        this.#arm(milliseconds - delay);
        return;
      }
      // After a long task of the event loop timers come first: an answer that has been here all along is due next.
      this.#lastTurn = setImmediate(() => {
        const rest = this.#rest();
        if (rest > 0) this.#arm(rest);
        else this.#expire();
      });
    }, delay);
  }
}

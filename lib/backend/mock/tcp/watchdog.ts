import { nodeTimers } from '../../../node-timers';

/** Ends what makes no progress. It keeps no process alive. */
export class Watchdog {
  readonly #limitMs: number;
  readonly #progress: () => number | undefined;
  readonly #expire: () => void;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param limitMs how long nothing may change; at most half of it is added
   * @param progress a number that changes with each step; `undefined` while nothing is waited for
   * @param expire called when it has not changed for so long
   */
  constructor(limitMs: number, progress: () => number | undefined, expire: () => void) {
    this.#limitMs = limitMs;
    this.#progress = progress;
    this.#expire = expire;
  }

  /** Watches until nothing is waited for. */
  watch(): void {
    if (this.#timer !== undefined) return;
    let last = this.#progress();
    if (last === undefined) return;
    let looked = false;
    const timer = nodeTimers.setInterval(() => {
      const now = this.#progress();
      if (now === undefined) this.stop();
      else if (now !== last) {
        last = now;
        looked = false;
      } else if (looked) {
        this.stop();
        this.#expire();
      } else {
        // After a pause of this process what is waited for may have arrived and not been read: it gets another turn.
        looked = true;
      }
    }, this.#limitMs / 2);
    this.#timer = timer.unref();
  }

  stop(): void {
    nodeTimers.clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

import { nodeTimers } from '../../node-timers';
import type { Turns } from '../backend';

/**
 * Calls that are over in one turn of the event loop settle together in the next one, in the order in which they ended, as
 * completions of the native backend do. So timers, aborts and I/O run between a call and the one that waits for it, and many
 * calls at a time cost one task. While a call waits here the process stays alive, and not a moment longer.
 */
class SharedTurns implements Turns {
  #count = 0;
  #next: Promise<void> | undefined;

  get count(): number {
    return this.#count;
  }

  next(): Promise<void> {
    this.#next ??= new Promise((resolve) => {
      nodeTimers.setImmediate(() => {
        this.#count += 1;
        this.#next = undefined;
        resolve();
      });
    });
    return this.#next;
  }
}

/** Those of all mock instances: a turn is one of the thread. */
export const turns: Turns = new SharedTurns();

import { MessageChannel } from 'node:worker_threads';

/**
 * Turns of the event loop that nobody replaces: fake timers, of jest and others, take the place of setTimeout, setImmediate
 * and process.nextTick, and of those of node:timers too where all tests share the global object.
 */
export class EventLoop {
  // Messages that are sent back and forth over one channel are all delivered in the same turn; between two it takes a turn.
  readonly #first = new MessageChannel();
  readonly #second = new MessageChannel();
  #ended: (() => void) | undefined;

  constructor() {
    this.#first.port1.on('message', () => {
      this.#second.port2.postMessage(undefined);
    });
    this.#second.port1.on('message', () => {
      this.#ended?.();
    });
  }

  /** Everything has run that was due in this turn: promises, and tasks that were set off before. */
  turn(): Promise<void> {
    return new Promise((resolve) => {
      this.#ended = resolve;
      this.#first.port2.postMessage(undefined);
    });
  }

  /** No turn follows; an open channel would keep the process alive. */
  close(): void {
    this.#first.port1.close();
    this.#second.port1.close();
  }
}

/** The control calls of one instance: one after the other, in the order in which they were made. */
export class ControlQueue {
  #tail: Promise<void> | undefined;

  get isEmpty(): boolean {
    return this.#tail === undefined;
  }

  /**
   * Runs `work` when everything before it has ended: at once, on the caller's turn, where there is nothing. Only the caller
   * hangs on its promise, because V8 follows no promise on which two do: a failure of it would have no stack beyond this.
   */
  run<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#tail;
    let leave = (): void => undefined;
    const tail = new Promise<void>((resolve) => {
      leave = resolve;
    });
    const ended = this.#run(before, work, () => {
      if (this.#tail === tail) this.#tail = undefined;
      leave();
    });
    // Nothing may come in between: what ends the tail waits already, so that a `vm` timeout leaves none that never ends.
    this.#tail = tail;
    return ended;
  }

  async #run<T>(before: Promise<void> | undefined, work: () => Promise<T>, leave: () => void): Promise<T> {
    try {
      if (before !== undefined) await before;
      return await work();
    } finally {
      // The next one comes whatever the outcome of this one is.
      leave();
    }
  }
}

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
  async run<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#tail;
    let leave = (): void => undefined;
    const tail = new Promise<void>((resolve) => {
      leave = resolve;
    });
    // With its promise in hand: a `vm` timeout that stops the work on the caller's turn leaves no tail that never ends.
    const running = before === undefined ? work() : undefined;
    try {
      // Nothing may come in between: once it is the tail, the others wait for its end.
      this.#tail = tail;
      if (running !== undefined) return await running;
      await before;
      return await work();
    } finally {
      // The next one comes whatever the outcome of this one is.
      if (this.#tail === tail) this.#tail = undefined;
      leave();
    }
  }
}

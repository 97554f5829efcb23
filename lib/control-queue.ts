/** The control calls of one instance: one after the other, in the order in which they were made. */
export class ControlQueue {
  #tail: Promise<void> | undefined;

  get isEmpty(): boolean {
    return this.#tail === undefined;
  }

  /**
   * Runs `work` when everything before it has ended, and never on the caller's turn: a `vm` timeout or the end of a worker may stop
   * JavaScript anywhere in that. Only the caller hangs on its promise, because V8 follows no promise on which two do: a failure of
   * it would have no stack beyond this.
   */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#tail;
    let leave = (): void => undefined;
    const tail = new Promise<void>((resolve) => {
      leave = resolve;
    });
    try {
      // Nothing may come in between: once it is the tail, the others wait for its end.
      this.#tail = tail;
      await before;
      return await work();
    } finally {
      // The next one comes whatever comes of this one.
      if (this.#tail === tail) this.#tail = undefined;
      leave();
    }
  }
}

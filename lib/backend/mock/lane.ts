/**
 * What the library guards with a mutex: work that runs one after the other, in the order in which it came.
 *
 * Work that does not wait runs at once, on the caller's turn: a promise per step would cost more than a small pull.
 */
export class Lane {
  #tail: Promise<void> | undefined;

  /** Runs `work` when everything before it has ended. */
  run(work: () => void | Promise<void>): void | Promise<void> {
    const running = this.#tail === undefined ? work() : this.#tail.then(work);
    if (running === undefined) return undefined;
    // The next one starts whatever becomes of this one; its failure is told to its own caller.
    const tail = running.then(
      () => {
        this.#leave(tail);
      },
      () => {
        this.#leave(tail);
      },
    );
    this.#tail = tail;
    return running;
  }

  #leave(tail: Promise<void>): void {
    if (this.#tail === tail) this.#tail = undefined;
  }
}

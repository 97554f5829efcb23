/** The control calls of one instance: one after the other, in the order in which they were made. */
export class ControlQueue {
  #tail: Promise<void> | undefined;

  get isEmpty(): boolean {
    return this.#tail === undefined;
  }

  /** Runs `work` when everything before it has ended: at once, on the caller's turn, where there is nothing. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const running = this.#tail === undefined ? work() : this.#tail.then(work);
    const leave = () => {
      if (this.#tail === tail) this.#tail = undefined;
    };
    // The next one comes whatever becomes of this one; its failure is told to its own caller.
    const tail = running.then(leave, leave);
    this.#tail = tail;
    return running;
  }
}

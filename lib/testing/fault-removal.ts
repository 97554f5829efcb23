/** The removal of one fault: it ends what the fault has begun and would never end. */
export class FaultRemoval {
  readonly #waiting = new Set<() => void>();
  #isOver = false;

  get isOver(): boolean {
    return this.#isOver;
  }

  /** The fault is removed; nothing happens the second time. */
  remove(): void {
    this.#isOver = true;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /**
   * @param wake called when the fault is removed, at once where it was
   * @returns what calls it off
   */
  after(wake: () => void): () => void {
    if (this.#isOver) {
      wake();
      return () => undefined;
    }
    this.#waiting.add(wake);
    return () => {
      this.#waiting.delete(wake);
    };
  }
}

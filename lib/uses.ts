/**
 * How many calls use something at this moment - a peer, a cache, memory, an instance -, and who waits for the last of
 * them to end. Nothing is allocated by a call that nobody waits for.
 */
export class Uses {
  #count = 0;
  #moves = 0;
  #waiting: (() => void)[] | undefined;

  get count(): number {
    return this.#count;
  }

  /** Grows whenever a call ends or gets a step further: who waits can tell slow calls from those that stand still. */
  get moves(): number {
    return this.#moves;
  }

  enter(): void {
    this.#count += 1;
  }

  leave(): void {
    this.#count -= 1;
    this.#moves += 1;
    if (this.#count > 0 || this.#waiting === undefined) return;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    for (const wake of waiting) wake();
  }

  /** A call that uses it has got a step further. */
  move(): void {
    this.#moves += 1;
  }

  /** Resolves when no call uses it. Who waits has seen to it that no new ones come. */
  whenIdle(): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting ??= [];
      this.#waiting.push(resolve);
    });
  }
}

/** Things that are visited one after the other, again and again. */
export class Ring<T> {
  #next = 0;

  constructor(readonly items: readonly T[]) {
    if (items.length === 0) throw new RangeError('there is nothing to go around');
  }

  next(): T {
    const item = this.items[this.#next] as T;
    this.#next = (this.#next + 1) % this.items.length;
    return item;
  }
}

import { lowerBound } from './lower-bound';

/** A part is split when it has more. With a hundred thousand items a change moves some hundred of them, not all. */
const MOST_IN_A_PART = 512;

/**
 * Items in ascending order of an address. Adding and removing one costs about as much among a hundred thousand as among ten,
 * in whatever order they come and go.
 */
export class SortedByAddress<Item> {
  readonly #addressOf: (item: Item) => bigint;
  readonly #orderOf: (item: Item) => number;
  /** Each holds at least one item, and all of its items are before those of the next part. */
  readonly #parts: Item[][] = [];
  #size = 0;

  /** @param orderOf of items that may share an address: greater the later it is added. One of many is found by it. */
  constructor(addressOf: (item: Item) => bigint, orderOf: (item: Item) => number = () => 0) {
    this.#addressOf = addressOf;
    this.#orderOf = orderOf;
  }

  get size(): number {
    return this.#size;
  }

  /** Behind those of the same address. */
  add(item: Item): void {
    this.#size += 1;
    const address = this.#addressOf(item);
    const index = this.#partOf(address);
    const part = this.#parts[index];
    if (part === undefined) {
      this.#parts.unshift([item]);
      return;
    }
    part.splice(this.#countUpTo(part, address), 0, item);
    if (part.length <= MOST_IN_A_PART) return;
    // Ascending addresses are the most frequent: the full part stays full, and what follows begins another one.
    const isLast = index === this.#parts.length - 1;
    this.#parts.splice(index + 1, 0, part.splice(isLast ? MOST_IN_A_PART : MOST_IN_A_PART >>> 1));
  }

  /** @returns whether it was there */
  delete(item: Item): boolean {
    const address = this.#addressOf(item);
    const order = this.#orderOf(item);
    for (let p = this.#partOf(address, order); p >= 0; p--) {
      const part = this.#parts[p];
      if (part === undefined) return false;
      for (let i = this.#countUpTo(part, address, order) - 1; i >= 0; i--) {
        const candidate = part[i] as Item;
        if (candidate === item) {
          part.splice(i, 1);
          if (part.length === 0) this.#parts.splice(p, 1);
          this.#size -= 1;
          return true;
        }
        if (this.#addressOf(candidate) < address) return false;
      }
    }
    return false;
  }

  clear(): void {
    this.#parts.length = 0;
    this.#size = 0;
  }

  /** The last item at `address` or before it. */
  lastUpTo(address: bigint): Item | undefined {
    const part = this.#parts[this.#partOf(address)];
    return part?.[this.#countUpTo(part, address) - 1];
  }

  /** The items from `address` on, in ascending order. The list must not change meanwhile. */
  *from(address: bigint): Generator<Item> {
    // Those of the same address may begin in a part before.
    const first = lowerBound(this.#parts, (part) => this.#addressOf(part.at(-1) as Item) < address);
    for (let p = first; p < this.#parts.length; p++) {
      const part = this.#parts[p] ?? [];
      const behind = p === first ? lowerBound(part, (item) => this.#addressOf(item) < address) : 0;
      for (let i = behind; i < part.length; i++) yield part[i] as Item;
    }
  }

  /** All items, in ascending order. */
  toArray(): Item[] {
    return this.#parts.flat();
  }

  /** Index of the last part that begins at `address` or before it, of the first one where none does; -1 without parts. */
  #partOf(address: bigint, order = Infinity): number {
    const index = lowerBound(this.#parts, ([first]) => this.#isUpTo(first as Item, address, order)) - 1;
    return index < 0 && this.#parts.length > 0 ? 0 : index;
  }

  #countUpTo(part: readonly Item[], address: bigint, order = Infinity): number {
    return lowerBound(part, (item) => this.#isUpTo(item, address, order));
  }

  #isUpTo(item: Item, address: bigint, order: number): boolean {
    const own = this.#addressOf(item);
    return own < address || (own === address && this.#orderOf(item) <= order);
  }
}

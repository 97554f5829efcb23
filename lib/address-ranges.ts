import { lowerBound } from './lower-bound';

interface AddressRange<Owner> {
  readonly start: bigint;
  readonly end: bigint;
  readonly owner: Owner;
}

/** An address that is taken; by whom, unless by another one of the same list. */
export interface Overlap<Owner> {
  readonly address: bigint;
  readonly owner: Owner | undefined;
}

/** A cache of a model has some hundred tensors, a hostile one a hundred thousand. */
const FEW = 1024;

/** Address ranges in ascending order of their starts. */
export class AddressRanges<Owner extends { readonly addrs: BigUint64Array }> {
  #ranges: AddressRange<Owner>[] = [];

  /** An address whose range overlaps another one of the list or one that is held here. */
  findOverlap(addrs: BigUint64Array, byteLength: bigint): Overlap<Owner> | undefined {
    const sorted = addrs.slice().sort();
    for (const [i, start] of sorted.entries()) {
      const next = sorted[i + 1];
      if (next !== undefined && next < start + byteLength) return { address: next, owner: undefined };
      const owner = this.#nearestOwner(start, start + byteLength);
      if (owner !== undefined) return { address: start, owner };
    }
    return undefined;
  }

  /** Who holds something between two addresses; one that holds several ranges comes several times. */
  *ownersWithin(start: bigint, end: bigint): Generator<Owner> {
    let i = this.#indexFrom(start);
    const before = this.#ranges[i - 1];
    if (before !== undefined && before.end > start) yield before.owner;
    for (let range = this.#ranges[i]; range !== undefined && range.start < end; range = this.#ranges[++i]) {
      yield range.owner;
    }
  }

  add(owner: Owner, byteLength: bigint): void {
    const sorted = owner.addrs.slice().sort();
    const last = this.#ranges.at(-1);
    for (const start of sorted) this.#ranges.push({ start, end: start + byteLength, owner });
    const [first] = sorted;
    if (last === undefined || first === undefined || last.start <= first) return;
    // Two sorted halves, which is what this sort is quick at.
    this.#ranges.sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  }

  remove(owner: Owner): void {
    // Few are found one by one, whatever else is held; many are dropped in one go.
    if (owner.addrs.length > FEW) {
      this.#ranges = this.#ranges.filter((range) => range.owner !== owner);
      return;
    }
    for (const start of owner.addrs) {
      // Without guards others may start at the same address.
      let index = this.#indexFrom(start + 1n) - 1;
      while (index >= 0 && this.#ranges[index]?.owner !== owner) index -= 1;
      if (index >= 0) this.#ranges.splice(index, 1);
    }
  }

  clear(): void {
    this.#ranges = [];
  }

  /** Ranges that are held do not overlap each other unless guards are off; then only the nearest one is seen. */
  #nearestOwner(start: bigint, end: bigint): Owner | undefined {
    const before = this.#ranges[this.#indexFrom(end) - 1];
    return before !== undefined && before.end > start ? before.owner : undefined;
  }

  /** Index of the first range that starts at `address` or behind it. */
  #indexFrom(address: bigint): number {
    return lowerBound(this.#ranges, (range) => range.start < address);
  }
}

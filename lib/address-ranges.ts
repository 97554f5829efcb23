import { SortedByAddress } from './sorted-by-address';

interface AddressRange<Owner> {
  readonly start: bigint;
  readonly end: bigint;
  readonly owner: Owner;
  readonly order: number;
}

/** An address that is taken; by whom, unless by another one of the same list. */
export interface Overlap<Owner> {
  readonly address: bigint;
  readonly owner: Owner | undefined;
}

/** Address ranges in ascending order of their starts. */
export class AddressRanges<Owner extends { readonly addrs: BigUint64Array }> {
  readonly #ranges = new SortedByAddress<AddressRange<Owner>>(
    ({ start }) => start,
    ({ order }) => order,
  );
  readonly #byOwner = new Map<Owner, AddressRange<Owner>[]>();
  /** Ranges so far: without guards a million of them may begin at one address. */
  #added = 0;

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
    const before = start > 0n ? this.#ranges.lastUpTo(start - 1n) : undefined;
    if (before !== undefined && before.end > start) yield before.owner;
    for (const range of this.#ranges.from(start)) {
      if (range.start >= end) return;
      yield range.owner;
    }
  }

  add(owner: Owner, byteLength: bigint): void {
    const ranges = Array.from(owner.addrs, (start) => ({
      start,
      end: start + byteLength,
      owner,
      order: this.#added++,
    }));
    for (const range of ranges) this.#ranges.add(range);
    this.#byOwner.set(owner, ranges);
  }

  remove(owner: Owner): void {
    for (const range of this.#byOwner.get(owner) ?? []) this.#ranges.delete(range);
    this.#byOwner.delete(owner);
  }

  clear(): void {
    this.#ranges.clear();
    this.#byOwner.clear();
  }

  /** Ranges that are held do not overlap each other unless guards are off; then only the nearest one is seen. */
  #nearestOwner(start: bigint, end: bigint): Owner | undefined {
    const before = end > 0n ? this.#ranges.lastUpTo(end - 1n) : undefined;
    return before !== undefined && before.end > start ? before.owner : undefined;
  }
}

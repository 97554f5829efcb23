import type { BackendCacheDesc } from './backend/backend';
import { tableBytes } from './cache-limits';
import { lowerBound } from './lower-bound';
import { tensorSize } from './tensor-size';

/** A registered cache of one instance, as far as the package knows it. */
export interface Registration {
  readonly cacheId: bigint;
  readonly desc: BackendCacheDesc;
  readonly addrs: BigUint64Array;
  readonly size: CacheSize;
}

/** What follows from shape and type; rows are blocks as well. */
export interface CacheSize {
  /** Bytes of one tensor. */
  readonly tensorBytes: bigint;
  readonly rows: bigint;
  /** Bytes of one row or block; the last row of a tensor that does not divide is longer than it says. */
  readonly rowBytes: bigint;
}

/** `undefined` where the library refuses to compute one. */
export function cacheSize(desc: BackendCacheDesc): CacheSize | undefined {
  const [rows] = desc.shape;
  const size = tensorSize(desc.shape, desc.dataType);
  if (rows === undefined || 'problem' in size) return undefined;
  return { tensorBytes: size.byteLength, rows, rowBytes: size.byteLength / rows };
}

/** The caches of one instance that are registered now, and the memory and the table that they take. */
export class Registrations {
  readonly #byId = new Map<bigint, { registration: Registration; reservation: Reservation }>();
  readonly #ranges = new AddressRanges();
  #tensors = 0;
  #caches = 0;
  #generation = 0;

  /** Counts finalizations: ids start at 1 again after one, so a handle of an earlier life may name another cache. */
  get generation(): number {
    return this.#generation;
  }

  get(cacheId: bigint): Registration | undefined {
    return this.#byId.get(cacheId)?.registration;
  }

  /** Bytes of the table with another cache of so many tensors in it. */
  tableBytesWith(numTensors: number): number {
    return tableBytes(this.#caches + 1, this.#tensors + numTensors);
  }

  /** An address whose range overlaps another one of the list or one that is registered. */
  findOverlap(addrs: BigUint64Array, byteLength: bigint): bigint | undefined {
    return this.#ranges.findOverlap(addrs, byteLength);
  }

  /** Takes memory and table space before the library is asked, so that two calls at a time do not take the same. */
  reserve(addrs: BigUint64Array, byteLength: bigint): Reservation {
    const reservation = { addrs, generation: this.#generation };
    this.#ranges.add(reservation, addrs, byteLength);
    this.#tensors += addrs.length;
    this.#caches += 1;
    return reservation;
  }

  confirm(registration: Registration, reservation: Reservation): void {
    this.#byId.set(registration.cacheId, { registration, reservation });
  }

  cancel(reservation: Reservation): void {
    // A finalize has cleared what was reserved before it.
    if (reservation.generation !== this.#generation) return;
    this.#ranges.remove(reservation);
    this.#tensors -= reservation.addrs.length;
    this.#caches -= 1;
  }

  remove(cacheId: bigint): void {
    const entry = this.#byId.get(cacheId);
    if (entry === undefined) return;
    this.#byId.delete(cacheId);
    this.cancel(entry.reservation);
  }

  clear(): void {
    this.#generation += 1;
    this.#byId.clear();
    this.#ranges.clear();
    this.#tensors = 0;
    this.#caches = 0;
  }
}

export interface Reservation {
  readonly addrs: BigUint64Array;
  readonly generation: number;
}

interface AddressRange {
  readonly start: bigint;
  readonly end: bigint;
  readonly owner: Reservation;
}

/** A cache of a model has some hundred tensors, a hostile one a hundred thousand. */
const FEW = 1024;

/** Address ranges in ascending order of their starts. */
class AddressRanges {
  #ranges: AddressRange[] = [];

  findOverlap(addrs: BigUint64Array, byteLength: bigint): bigint | undefined {
    const sorted = addrs.slice().sort();
    for (const [i, start] of sorted.entries()) {
      const next = sorted[i + 1];
      if (next !== undefined && next < start + byteLength) return next;
      if (this.#overlaps(start, start + byteLength)) return start;
    }
    return undefined;
  }

  add(owner: Reservation, addrs: BigUint64Array, byteLength: bigint): void {
    const sorted = addrs.slice().sort();
    const last = this.#ranges.at(-1);
    for (const start of sorted) this.#ranges.push({ start, end: start + byteLength, owner });
    const [first] = sorted;
    if (last === undefined || first === undefined || last.start <= first) return;
    // Two sorted halves, which is what this sort is quick at.
    this.#ranges.sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  }

  remove(owner: Reservation): void {
    // Few are found one by one, whatever else is registered; many are dropped in one go.
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

  /** Ranges that are registered do not overlap each other unless guards are off; then only the nearest one is seen. */
  #overlaps(start: bigint, end: bigint): boolean {
    const before = this.#ranges[this.#indexFrom(end) - 1];
    return before !== undefined && before.end > start;
  }

  /** Index of the first range that starts at `address` or behind it. */
  #indexFrom(address: bigint): number {
    return lowerBound(this.#ranges, (range) => range.start < address);
  }
}

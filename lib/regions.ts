import type { AllocatedRegion } from './memory';
import { SortedByAddress } from './sorted-by-address';

/** Bytes from `start` on, up to `end`. */
export interface MemoryRange {
  readonly start: bigint;
  readonly end: bigint;
}

/**
 * Freed ranges that are remembered. Of more the oldest one is forgotten, or a process that allocates and frees for years
 * would keep a list of all that it ever had.
 */
const MOST_FREED = 16_384;

/** The memory regions of one instance that are allocated, in ascending order of address, and where regions were freed. */
export class Regions {
  /** Where they begin, for freeing them when nothing refers to them any more. */
  readonly addresses = new Set<bigint>();
  readonly #regions = new SortedByAddress<AllocatedRegion>(({ address }) => address);
  readonly #freed = new SortedByAddress<MemoryRange>(({ start }) => start);
  /** The freed ranges in the order in which they were freed. */
  readonly #freedInOrder = new Set<MemoryRange>();

  add(region: AllocatedRegion): void {
    this.#regions.add(region);
    this.addresses.add(region.address);
    this.#reuse(rangeOf(region));
  }

  /** The region has been given back. */
  delete(region: AllocatedRegion): void {
    if (!this.#regions.delete(region)) return;
    this.addresses.delete(region.address);
    this.#remember(rangeOf(region));
  }

  /** The region that holds the byte at `address`. */
  at(address: bigint): AllocatedRegion | undefined {
    const region = this.#regions.lastUpTo(address);
    return region !== undefined && address < region.address + region.byteLength ? region : undefined;
  }

  /** The first region that begins between two addresses. */
  firstIn({ start, end }: MemoryRange): AllocatedRegion | undefined {
    for (const region of this.#regions.from(start)) return region.address < end ? region : undefined;
    return undefined;
  }

  /** A freed range that some bytes overlap and that no later region has got. */
  freedIn({ start, end }: MemoryRange): MemoryRange | undefined {
    const freed = end > 0n ? this.#freed.lastUpTo(end - 1n) : undefined;
    return freed !== undefined && freed.end > start ? freed : undefined;
  }

  /** The regions that some addresses lie in, each once. */
  of(addrs: BigUint64Array): Set<AllocatedRegion> {
    const regions = new Set<AllocatedRegion>();
    for (const address of addrs) {
      const region = this.at(address);
      if (region !== undefined) regions.add(region);
    }
    return regions;
  }

  all(): AllocatedRegion[] {
    return this.#regions.toArray();
  }

  #remember(range: MemoryRange): void {
    this.#freed.add(range);
    this.#freedInOrder.add(range);
    if (this.#freedInOrder.size <= MOST_FREED) return;
    const [oldest] = this.#freedInOrder;
    if (oldest !== undefined) this.#forget(oldest);
  }

  #forget(range: MemoryRange): void {
    this.#freed.delete(range);
    this.#freedInOrder.delete(range);
  }

  /** A region has got this memory: what it leaves of freed ranges is still freed. */
  #reuse(taken: MemoryRange): void {
    for (let freed = this.freedIn(taken); freed !== undefined; freed = this.freedIn(taken)) {
      this.#forget(freed);
      if (freed.start < taken.start) this.#remember({ start: freed.start, end: taken.start });
      if (freed.end > taken.end) this.#remember({ start: taken.end, end: freed.end });
    }
  }
}

function rangeOf({ address, byteLength }: AllocatedRegion): MemoryRange {
  return { start: address, end: address + byteLength };
}

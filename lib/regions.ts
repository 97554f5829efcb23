import { lowerBound } from './lower-bound';
import type { AllocatedRegion } from './memory';

/** The memory regions of one instance that are allocated, in ascending order of address. */
export class Regions {
  /** Where they begin, for who frees them when nothing refers to them any more. */
  readonly addresses = new Set<bigint>();
  readonly #regions: AllocatedRegion[] = [];

  add(region: AllocatedRegion): void {
    this.#regions.splice(this.#indexAfter(region.address), 0, region);
    this.addresses.add(region.address);
  }

  delete(region: AllocatedRegion): void {
    const index = this.#indexAfter(region.address) - 1;
    if (this.#regions[index] !== region) return;
    this.#regions.splice(index, 1);
    this.addresses.delete(region.address);
  }

  /** The region that holds the byte at `address`. */
  at(address: bigint): AllocatedRegion | undefined {
    const region = this.#regions[this.#indexAfter(address) - 1];
    return region !== undefined && address < region.address + region.byteLength ? region : undefined;
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
    return [...this.#regions];
  }

  /** Index of the first region that starts behind `address`. */
  #indexAfter(address: bigint): number {
    return lowerBound(this.#regions, (region) => region.address <= address);
  }
}

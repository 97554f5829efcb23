import { lowerBound } from './lower-bound';
import type { AllocatedRegion } from './memory';

/** The live memory regions of one instance, in ascending order of address. */
export class Regions {
  readonly #regions: AllocatedRegion[] = [];

  add(region: AllocatedRegion): void {
    this.#regions.splice(this.#indexAfter(region.address), 0, region);
  }

  delete(region: AllocatedRegion): void {
    const index = this.#indexAfter(region.address) - 1;
    if (this.#regions[index] === region) this.#regions.splice(index, 1);
  }

  /** The region that holds the byte at `address`. */
  at(address: bigint): AllocatedRegion | undefined {
    const region = this.#regions[this.#indexAfter(address) - 1];
    return region !== undefined && address < region.address + region.byteLength ? region : undefined;
  }

  all(): AllocatedRegion[] {
    return [...this.#regions];
  }

  /** Index of the first region that starts behind `address`. */
  #indexAfter(address: bigint): number {
    return lowerBound(this.#regions, (region) => region.address <= address);
  }
}

import { hexAddress } from '../../address';
import { isHost } from '../../placement';
import { SortedByAddress } from '../../sorted-by-address';
import { LLMStatusCode } from '../../status';
import { failed, invalid, Refusal } from './refusal';

/** As the driver: every allocation starts on a separate page, and never where another one ends. */
const PAGE = 2n * 1024n * 1024n;

/** What one instance can have allocated: more than the memory of a host, less than a process can address. */
const MOST_BYTES = 2n ** 40n;

/** Addresses that were not given out yet; spaces that share it share no address. */
export class Addresses {
  /** Where the Ascend driver places memory; only the look of it matters. */
  #next = 0x12c0_4000_0000n;

  take(byteLength: bigint): bigint {
    const address = this.#next;
    this.#next += (byteLength / PAGE + 2n) * PAGE;
    return address;
  }
}

/** One allocation. */
export class Region {
  freed = false;
  #bytes: Uint8Array;

  constructor(
    readonly address: bigint,
    readonly placement: number,
    bytes: Uint8Array,
  ) {
    this.#bytes = bytes;
  }

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** Lets go of the bytes: what still points here must fail, not read what was. */
  release(): void {
    this.freed = true;
    this.#bytes = new Uint8Array(0);
  }
}

/** A place inside an allocation. */
export interface Place {
  readonly region: Region;
  readonly offset: number;
}

/**
 * The memory of one instance: fake 64-bit addresses over ArrayBuffers. No two instances of a network share an address, so
 * that one which is used with the wrong instance is noticed.
 */
export class AddressSpace {
  readonly #addresses: Addresses;
  readonly #regions = new SortedByAddress<Region>(({ address }) => address);
  #byteLength = 0n;

  constructor(addresses: Addresses) {
    this.#addresses = addresses;
  }

  /** Live allocations. */
  get regions(): readonly Region[] {
    return this.#regions.toArray();
  }

  allocate(byteLength: bigint, placement: number): bigint {
    if (byteLength === 0n) throw invalid('cannot allocate 0 bytes');
    const bytes = this.#take(byteLength, placement);
    const address = this.#addresses.take(byteLength);
    this.#regions.add(new Region(address, placement, bytes));
    this.#byteLength += byteLength;
    return address;
  }

  free(address: bigint): void {
    const region = this.#regions.lastUpTo(address);
    if (region?.address !== address) throw invalid(`${hexAddress(address)} is not the start of a live allocation`);
    this.#regions.delete(region);
    this.#byteLength -= BigInt(region.bytes.length);
    region.release();
  }

  /** The process is gone, and its memory with it. */
  clear(): void {
    for (const region of this.#regions.toArray()) region.release();
    this.#regions.clear();
    this.#byteLength = 0n;
  }

  /** The place of `byteLength` bytes at `address`, or `undefined` where they are not all one live allocation's. */
  find(address: bigint, byteLength: number): Place | undefined {
    const region = this.#regions.lastUpTo(address);
    if (region === undefined) return undefined;
    const offset = Number(address - region.address);
    return offset + byteLength <= region.bytes.length ? { region, offset } : undefined;
  }

  write(address: bigint, data: Uint8Array): void {
    const { region, offset } = this.#locate(address, data.length);
    region.bytes.set(data, offset);
  }

  /** The bytes themselves, until the allocation is freed. */
  view(address: bigint, byteLength: number): Uint8Array {
    const { region, offset } = this.#locate(address, byteLength);
    return region.bytes.subarray(offset, offset + byteLength);
  }

  read(address: bigint, byteLength: number): Uint8Array {
    return this.view(address, byteLength).slice();
  }

  copy(dst: bigint, src: bigint, byteLength: number): void {
    const from = this.view(src, byteLength);
    this.view(dst, byteLength).set(from);
  }

  #locate(address: bigint, byteLength: number): Place {
    const place = this.find(address, byteLength);
    if (place === undefined)
      throw failed(`${byteLength} bytes at ${hexAddress(address)} are not memory of this instance`);
    return place;
  }

  /** Memory as `aclrtMalloc` gives it; a size for which the process has no memory is refused. */
  #take(byteLength: bigint, placement: number): Uint8Array {
    const status = isHost(placement) ? LLMStatusCode.LLM_OUT_OF_MEMORY : LLMStatusCode.LLM_DEVICE_OUT_OF_MEMORY;
    if (this.#byteLength + byteLength > MOST_BYTES) {
      throw new Refusal(
        status,
        `${byteLength} bytes beside ${this.#byteLength}: an instance of the mock has ${MOST_BYTES} at most`,
      );
    }
    try {
      // A buffer may be longer than what an array can show of it; how long that is depends on the version of Node.
      return new Uint8Array(Number(byteLength));
    } catch (error) {
      // Constructing one fails for want of memory only.
      throw new Refusal(status, `${byteLength} bytes in one piece cannot be had from this process: ${String(error)}`);
    }
  }
}

import type { AddressSpace, Place, Region } from './address-space';
import { hexAddress } from '../../address';
import { SortedByAddress } from '../../sorted-by-address';
import { failed, invalid } from './refusal';

/** One registration of a range with the transport. */
export class MemoryHandle {
  /** False once it is deregistered: links that were made with it must not use it any more. */
  live = true;

  constructor(
    readonly region: Region,
    readonly start: number,
    readonly end: number,
    /** Where it stands in the order of registrations; a link knows those made before it. */
    readonly sequence: number,
    readonly host: boolean,
    /** The cache with which it was registered. */
    readonly cacheId: bigint,
  ) {}

  get address(): bigint {
    return this.region.address + BigInt(this.start);
  }
}

/** A tensor of a registered cache: its bytes, and the handle through which the transport reaches them. */
export interface Tensor extends Place {
  readonly handle: MemoryHandle;
}

/**
 * What one instance has registered with its transport. A range (address and size) is registered once; the cache that
 * came first owns the handle, and takes it along when it goes.
 */
export class RegisteredMemory {
  readonly #space: AddressSpace;
  readonly #refuseOverlap: boolean;
  readonly #byRange = new Map<string, MemoryHandle>();
  readonly #byCache = new Map<bigint, string[]>();
  /** For the engine that refuses overlaps: what is registered in host and in device memory does not overlap in either. */
  readonly #inHost = new SortedByAddress<MemoryHandle>(({ address }) => address);
  readonly #inDevice = new SortedByAddress<MemoryHandle>(({ address }) => address);
  #sequence = 0;

  constructor(space: AddressSpace, options: { refuseOverlap: boolean }) {
    this.#space = space;
    this.#refuseOverlap = options.refuseOverlap;
  }

  /** Number of registrations so far; a link that is made now is bound to all of them and to no later one. */
  get sequence(): number {
    return this.#sequence;
  }

  /** As in the library, what came before a refused address stays registered, and belongs to nobody. */
  register(cacheId: bigint, addrs: BigUint64Array, byteLength: bigint, host: boolean): Tensor[] {
    const tensors: Tensor[] = [];
    const owned: string[] = [];
    for (const address of addrs) {
      const place = this.#space.find(address, Number(byteLength));
      if (place === undefined) {
        throw failed(`${byteLength} bytes at ${hexAddress(address)} are not memory of this instance, or freed memory`);
      }
      const range = `${address}+${byteLength}`;
      let handle = this.#byRange.get(range);
      if (handle === undefined || handle.region.freed) {
        handle = this.#newHandle(place, Number(byteLength), host, cacheId);
        this.#byRange.set(range, handle);
        owned.push(range);
      }
      tensors.push({ region: place.region, offset: place.offset, handle });
    }
    this.#byCache.set(cacheId, owned);
    return tensors;
  }

  /** Whether the cache owns handles: one whose memory others had registered before owns none. */
  owns(cacheId: bigint): boolean {
    return (this.#byCache.get(cacheId)?.length ?? 0) > 0;
  }

  unregister(cacheId: bigint): void {
    for (const range of this.#byCache.get(cacheId) ?? []) {
      const handle = this.#byRange.get(range);
      if (handle !== undefined) this.#end(handle);
      this.#byRange.delete(range);
    }
    this.#byCache.delete(cacheId);
  }

  /** What Finalize does: links of peers keep their handles, but nothing answers behind them. */
  clear(): void {
    for (const handle of this.#byRange.values()) this.#end(handle);
    this.#byRange.clear();
    this.#byCache.clear();
  }

  #newHandle(place: Place, byteLength: number, host: boolean, cacheId: bigint): MemoryHandle {
    const { region, offset } = place;
    const handle = new MemoryHandle(region, offset, offset + byteLength, this.#sequence + 1, host, cacheId);
    if (this.#refuseOverlap) this.#place(handle);
    this.#sequence += 1;
    return handle;
  }

  #end(handle: MemoryHandle): void {
    handle.live = false;
    if (this.#refuseOverlap) (handle.host ? this.#inHost : this.#inDevice).delete(handle);
  }

  #place(handle: MemoryHandle): void {
    const handles = handle.host ? this.#inHost : this.#inDevice;
    // Allocations do not touch each other: what overlaps is in the same one.
    const end = handle.region.address + BigInt(handle.end);
    const other = handles.lastUpTo(end - 1n);
    if (other?.region === handle.region && handle.start < other.end) {
      throw invalid(`${describe(handle)} overlap ${describe(other)} of ${this.#ownerOf(other, handle.cacheId)}`);
    }
    handles.add(handle);
  }

  /** What holds some memory that a cache is refused for. */
  #ownerOf(handle: MemoryHandle, refused: bigint): string {
    if (this.#byCache.has(handle.cacheId)) return `cache ${handle.cacheId}, which is registered`;
    if (handle.cacheId === refused) return 'another tensor of the call';
    return `cache ${handle.cacheId}, whose registration failed and left memory registered`;
  }
}

function describe(handle: MemoryHandle): string {
  return `${handle.end - handle.start} bytes at ${hexAddress(handle.address)}`;
}

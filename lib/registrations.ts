import { AddressRanges } from './address-ranges';
import type { Overlap } from './address-ranges';
import type { BackendCacheDesc } from './backend/backend';
import type { CheckedDesc } from './cache';
import { tableBytes } from './cache-limits';
import { tensorSize } from './tensor-size';
import type { Uses } from './uses';

/** A registered cache of one instance, as far as the package knows it. */
export interface Registration {
  readonly cacheId: bigint;
  readonly desc: CheckedDesc;
  readonly addrs: BigUint64Array;
  readonly size: CacheSize;
  /** What its keys carry. */
  readonly identity: { readonly life: string; readonly version: number; readonly fingerprint: string };
  /** Whether the library has allocated it, and is to deallocate it. */
  readonly isOfLibrary: boolean;
  /** Transfers and local copies that work on it. */
  uses: Uses;
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

/**
 * Memory and table space that a cache takes in the library. It takes them before the library is asked, so that two calls
 * at a time do not take the same, and until it can hold nothing of them any more.
 */
export interface Reservation {
  readonly addrs: BigUint64Array;
  /** What was registered; `undefined` while the library has not answered, and after it has refused. */
  registration: Registration | undefined;
  /**
   * - `registering`: the library has been asked
   * - `registered`
   * - `withdrawn`: not registered any more for the caller; the library has not unregistered it yet
   * - `stuck`: registering or unregistering failed, so that the library may hold a part of it until Finalize
   */
  state: 'registering' | 'registered' | 'withdrawn' | 'stuck';
  /** The link calls before it was registered. */
  linksBefore: number;
  /** Whether it is withdrawn, and the library will unregister it when no link can be left that holds its memory. */
  waitsForLinks: boolean;
}

const NO_ADDRESSES = new BigUint64Array(0);

/** The caches of one instance that are registered now, and the memory and the table that they take. */
export class Registrations {
  readonly #byId = new Map<bigint, Reservation>();
  readonly #withdrawn = new Map<bigint, Reservation>();
  readonly #ranges = new AddressRanges<Reservation>();
  #tensors = 0;
  #caches = 0;
  #waiting = 0;
  #generation = 0;
  #made = 0;

  /** Caches that are registered for the caller. */
  get count(): number {
    return this.#byId.size;
  }

  /** Registrations that have succeeded since the last finalize, whatever happened to the caches since. */
  get made(): number {
    return this.#made;
  }

  /** Counts finalizations: ids start at 1 again after one, so a handle of an earlier life may name another cache. */
  get generation(): number {
    return this.#generation;
  }

  get(cacheId: bigint): Registration | undefined {
    return this.#byId.get(cacheId)?.registration;
  }

  /** Whether the caller has unregistered the cache and the library still has it. */
  isWithdrawn(cacheId: bigint): boolean {
    return this.#withdrawn.has(cacheId);
  }

  /** How many caches wait for links with their unregistration. */
  get waitingCount(): number {
    return this.#waiting;
  }

  /** Those caches. */
  *waiting(): Generator<{ reservation: Reservation; cacheId: bigint }> {
    for (const [cacheId, reservation] of this.#withdrawn) {
      if (reservation.waitsForLinks) yield { reservation, cacheId };
    }
  }

  /** Bytes of the table when another cache of `numTensors` tensors is in it. */
  tableBytesWith(numTensors: number): number {
    return tableBytes(this.#caches + 1, this.#tensors + numTensors);
  }

  /** An address whose range overlaps another one of the list or one that the library may hold. */
  findOverlap(addrs: BigUint64Array, byteLength: bigint): Overlap<Reservation> | undefined {
    return this.#ranges.findOverlap(addrs, byteLength);
  }

  /** What the library may hold of some memory. */
  holders(address: bigint, byteLength: bigint): Iterable<Reservation> {
    return this.#ranges.ownersWithin(address, address + byteLength);
  }

  reserve(addrs: BigUint64Array, byteLength: bigint, linksBefore: number): Reservation {
    const reservation: Reservation = {
      addrs,
      registration: undefined,
      state: 'registering',
      linksBefore,
      waitsForLinks: false,
    };
    this.#ranges.add(reservation, byteLength);
    this.#tensors += addrs.length;
    this.#caches += 1;
    return reservation;
  }

  confirm(reservation: Reservation, registration: Registration): void {
    reservation.registration = registration;
    reservation.state = 'registered';
    this.#byId.set(registration.cacheId, reservation);
    this.#made += 1;
  }

  /** The library has refused it and left nothing behind. */
  cancel(reservation: Reservation): void {
    this.#ranges.remove(reservation);
    this.#tensors -= reservation.addrs.length;
    this.#caches -= 1;
  }

  /** Registering has failed half-way: what the transport may hold stays taken until Finalize. The table has nothing of it. */
  strand(reservation: Reservation): void {
    reservation.state = 'stuck';
    this.#tensors -= reservation.addrs.length;
    this.#caches -= 1;
  }

  /** Makes a cache unknown to the caller. */
  withdraw(cacheId: bigint): Reservation | undefined {
    const reservation = this.#byId.get(cacheId);
    if (reservation === undefined) return undefined;
    reservation.state = 'withdrawn';
    this.#byId.delete(cacheId);
    this.#withdrawn.set(cacheId, reservation);
    return reservation;
  }

  /** The library refuses to unregister it: it is registered as before. */
  restore(cacheId: bigint, reservation: Reservation): void {
    reservation.state = 'registered';
    this.#withdrawn.delete(cacheId);
    this.#byId.set(cacheId, reservation);
  }

  /** A withdrawn cache is unregistered in the library when no link can be left that holds its memory. */
  defer(reservation: Reservation): void {
    reservation.waitsForLinks = true;
    this.#waiting += 1;
  }

  /** The library refuses to unregister what the caller does not know any more: table and memory stay taken until Finalize. */
  abandon(reservation: Reservation): void {
    reservation.state = 'stuck';
    this.#endWaiting(reservation);
  }

  /**
   * The library has unregistered it, whether it was withdrawn before or not.
   * @returns where its tensors were
   */
  remove(cacheId: bigint): BigUint64Array {
    const reservation = this.#byId.get(cacheId) ?? this.#withdrawn.get(cacheId);
    if (reservation === undefined) return NO_ADDRESSES;
    this.#byId.delete(cacheId);
    this.#withdrawn.delete(cacheId);
    this.#endWaiting(reservation);
    this.cancel(reservation);
    return reservation.addrs;
  }

  clear(): void {
    this.#generation += 1;
    this.#made = 0;
    this.#byId.clear();
    this.#withdrawn.clear();
    this.#ranges.clear();
    this.#tensors = 0;
    this.#caches = 0;
    this.#waiting = 0;
  }

  #endWaiting(reservation: Reservation): void {
    if (!reservation.waitsForLinks) return;
    reservation.waitsForLinks = false;
    this.#waiting -= 1;
  }
}

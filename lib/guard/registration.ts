import { hexAddress } from '../address';
import type { BackendCacheDesc } from '../backend/backend';
import { bitsOf, isSubByte } from '../data-type';
import { MAX_SUB_BYTE_BITS, MAX_TENSORS, TABLE_LIMIT } from '../cache-limits';
import type { Instance } from '../instance';
import type { Reservation } from '../registrations';
import { tensorSize } from '../tensor-size';
import { refusal } from './rule';

const MAX_ROWS = 0xffff_ffffn;

/** Shape and type, as far as registering and allocating share them. What the library checks itself is left to it. */
export function guardDescription(operation: string, desc: BackendCacheDesc): void {
  const [rows = 1n] = desc.shape;
  if (rows > MAX_ROWS) throw refusal('first-dimension', operation, `the first dimension is ${rows}`);
  guardTensors(operation, desc.numTensors);
  const size = tensorSize(desc.shape, desc.dataType);
  if ('problem' in size || !isSubByte(desc.dataType)) return;
  if (size.bits > MAX_SUB_BYTE_BITS) throw refusal('whole-byte-rows', operation, `a tensor has ${size.bits} bits`);
  if (size.bits % (rows * 8n) !== 0n) {
    throw refusal(
      'whole-byte-rows',
      operation,
      `a row of shape [${desc.shape.join(', ')}] has ${size.bits / rows} bits of ${bitsOf(desc.dataType)}-bit elements`,
    );
  }
}

/** Refuses a cache for which no table has room. */
export function guardTensors(operation: string, numTensors: number): void {
  if (numTensors > MAX_TENSORS) throw refusal('cache-tensors', operation, `the cache has ${numTensors} tensors`);
}

/** Whether a cache would be refused for what caches take that are unregistered and wait for links. */
export function lacksRoom(instance: Instance, numTensors: number, addrs: BigUint64Array, tensorBytes: bigint): boolean {
  const { registrations } = instance;
  if (registrations.waitingCount === 0) return false;
  if (registrations.tableBytesWith(numTensors) > TABLE_LIMIT) return true;
  return registrations.findOverlap(addrs, tensorBytes)?.owner?.waitsForLinks === true;
}

/** Refuses a cache of `numTensors` tensors for which the table has no room. */
export function guardTable(instance: Instance, operation: string, numTensors: number): void {
  const bytes = instance.registrations.tableBytesWith(numTensors);
  if (bytes <= TABLE_LIMIT) return;
  const { registrations, links, backend } = instance;
  const waiting = registrations.waitingCount;
  const because =
    waiting === 0
      ? ''
      : `; ${waiting} caches in it are unregistered, but wait for links to be gone. To have their places given back: ` +
        links.remedy(0, backend.unregisterUnlinked !== undefined);
  throw refusal('cache-table', operation, `with this cache the table would need ${bytes} bytes${because}`);
}

/** What RegisterKvCache takes without a word, or does not recover from. */
export function guardRegistration(instance: Instance, desc: BackendCacheDesc, addrs: BigUint64Array): void {
  const operation = 'registerCache';
  guardDescription(operation, desc);
  const size = tensorSize(desc.shape, desc.dataType);
  // The library refuses these itself, and leaves nothing behind.
  if ('problem' in size || addrs.length !== desc.numTensors || addrs.includes(0n)) return;
  guardTable(instance, operation, addrs.length);
  for (const address of addrs) guardInsideRegion(instance, operation, address, size.byteLength);
  const overlap = instance.registrations.findOverlap(addrs, size.byteLength);
  if (overlap === undefined) return;
  const { address, owner } = overlap;
  const tensor = addrs.indexOf(address);
  throw refusal(
    'memory-overlap',
    operation,
    `${rangeOf(address, size.byteLength)}, tensor ${tensor} of the call, ` +
      (owner === undefined
        ? `overlap ${tensorAt(addrs, size.byteLength, address, tensor)} of it`
        : describeOwner(instance, owner, address, size.byteLength)),
    owner?.registration === undefined ? {} : { cacheId: owner.registration.cacheId },
  );
}

/** The tensor of a list that some bytes overlap, and where it is. */
function tensorAt(
  addrs: BigUint64Array,
  byteLength: bigint,
  address: bigint,
  not?: number,
  length = byteLength,
): string {
  const index = addrs.findIndex((start, i) => i !== not && start < address + length && address < start + byteLength);
  const start = addrs[index];
  return start === undefined ? 'a tensor' : `tensor ${index} (${rangeOf(start, byteLength)})`;
}

function rangeOf(start: bigint, byteLength: bigint): string {
  return `${byteLength} bytes from ${hexAddress(start)} to ${hexAddress(start + byteLength)}`;
}

function describeOwner({ links, backend }: Instance, owner: Reservation, address: bigint, byteLength: bigint): string {
  const canTell = backend.unregisterUnlinked !== undefined;
  const { registration } = owner;
  const tensor =
    registration === undefined
      ? 'a tensor'
      : tensorAt(owner.addrs, registration.size.tensorBytes, address, undefined, byteLength);
  const cache = registration === undefined ? '' : `${tensor} of cache ${registration.cacheId}`;
  if (owner.waitsForLinks) {
    return (
      `belong to ${cache}, whose unregistration waits until no link that was made with it can be left; use other memory. ` +
      `To have this memory given back: ${links.remedy(owner.linksBefore, canTell)}`
    );
  }
  if (owner.state === 'stuck') {
    const failure = cache === '' ? 'a registration that failed' : `${cache}, whose unregistration failed`;
    return `belong to ${failure} in the library: it may hold them until finalize()`;
  }
  return `overlap ${cache === '' ? 'a tensor of a cache that is being registered' : cache}`;
}

/**
 * Only memory of this package can be measured: bytes that belong to no region of this instance, and never did, are the caller's
 * own risk.
 */
function guardInsideRegion(instance: Instance, operation: string, address: bigint, byteLength: bigint): void {
  const { regions } = instance;
  const end = address + byteLength;
  const refuse = (problem: string) =>
    refusal('tensor-memory', operation, `a tensor of ${byteLength} bytes at ${hexAddress(address)} ${problem}`);
  const region = regions.at(address);
  if (region !== undefined) {
    const regionEnd = region.address + region.byteLength;
    if (end > regionEnd) throw refuse(`exceeds its region, which ends at ${hexAddress(regionEnd)}`);
    return;
  }
  const behind = regions.firstIn({ start: address, end });
  if (behind !== undefined)
    throw refuse(`begins before the region at ${hexAddress(behind.address)} and reaches into it`);
  const freed = regions.freedIn({ start: address, end });
  if (freed === undefined) return;
  throw refuse(`lies in memory that was freed: ${rangeOf(freed.start, freed.end - freed.start)}`);
}

import { hexAddress } from './address';
import type { Cache } from './backend/backend';
import { RegisteredCache } from './cache';
import { undoRegistration, unregisterHeldCaches } from './cache-unregistration';
import type { CallLimits } from './call-options';
import type { CheckedDesc } from './cache';
import { LLMException } from './exception';
import { fingerprintOf } from './fingerprint';
import { guardDescription, guardRegistration, guardTable, guardTensors, lacksRoom } from './guard/registration';
import { refusal } from './guard/rule';
import type { Instance } from './instance';
import { unlessLibraryDoes } from './library-call';
import type { LimitedCall } from './limited-call';
import { AllocatedRegion, checkTotal } from './memory';
import { isHost } from './placement';
import type { Registration } from './registrations';
import { cacheSize } from './registrations';
import { LLMStatusCode } from './status';
import { Uses } from './uses';

const NO_ADDRESSES = new BigUint64Array(0);
const NO_SIZE = { tensorBytes: 0n, rows: 0n, rowBytes: 0n };

/** RegisterKvCache for memory of the caller. */
export async function registerCache(
  instance: Instance,
  desc: CheckedDesc,
  addrs: BigUint64Array,
  limits?: CallLimits,
): Promise<RegisteredCache> {
  const operation = 'registerCache';
  const work = (call: LimitedCall | undefined) => {
    // As they are at the call: when its turn comes, other memory may have got the addresses.
    const regions = instance.guards ? instance.regions.of(addrs) : [];
    const inTurn = async () => {
      guardLive(operation, regions);
      // Inside of the call, so that a finalize that waits for it makes the handle one of an earlier life.
      const cache = new RegisteredCache(instance, await register(instance, operation, desc, addrs, call));
      if (call?.isEnded === true) await undoRegistration(instance, cache.cacheId);
      return cache;
    };
    return instance.inTurn(operation, inTurn, call);
  };
  return await instance.run(operation, work, undefined, limits);
}

/** AllocateCache, or memory of the runtime, registered, where the library does not implement it. */
export async function allocateCache(
  instance: Instance,
  desc: CheckedDesc,
  limits?: CallLimits,
): Promise<RegisteredCache> {
  const operation = 'allocateCache';
  const allocate = async (call: LimitedCall | undefined) => {
    const tensorBytes = allocationSize(instance, desc);
    call?.begin();
    const cache = await unlessLibraryDoes(
      async () => {
        const given = await instance.watchedOnTables(operation, () => instance.backend.allocateCache(desc));
        return ofLibrary(instance, desc, given);
      },
      () => allocateTensors(instance, desc, tensorBytes, call),
    );
    if (call?.isEnded === true) await undoAllocation(instance, cache);
    return cache;
  };
  return await instance.run(
    operation,
    (call) => instance.inTurn(operation, () => allocate(call), call),
    undefined,
    limits,
  );
}

/** Nothing has the handle of a cache whose call was rejected before. */
async function undoAllocation(instance: Instance, cache: RegisteredCache): Promise<void> {
  await undoRegistration(instance, cache.cacheId);
  for (const region of RegisteredCache.regionsOf(cache) ?? []) await region.release();
}

/** A cache whose memory is the library's: it has no regions that could be freed one by one. */
function ofLibrary(instance: Instance, desc: CheckedDesc, given: Cache): RegisteredCache {
  const { registrations, links } = instance;
  const { cacheId } = given;
  const addrs = given.tensorAddrs.slice();
  const size = cacheSize(desc) ?? NO_SIZE;
  const reservation = registrations.reserve(addrs, size.tensorBytes, links.made);
  const identity = identityOf(instance, desc);
  const registration = { cacheId, desc, addrs, size, identity, isOfLibrary: true, uses: new Uses() };
  registrations.confirm(reservation, registration);
  return new RegisteredCache(instance, registration);
}

async function allocateTensors(
  instance: Instance,
  desc: CheckedDesc,
  tensorBytes: bigint,
  call: LimitedCall | undefined,
): Promise<RegisteredCache> {
  const operation = 'allocateCache';
  if (instance.guards) {
    await makeRoom(instance, desc.numTensors, NO_ADDRESSES, tensorBytes);
    guardTable(instance, operation, desc.numTensors);
  } else {
    // The library registers no more, so that what the package allocates for them is lost time, and at last the process.
    guardTensors(operation, desc.numTensors);
  }
  checkTotal(operation, tensorBytes * BigInt(desc.numTensors), desc.placement);
  const regions: AllocatedRegion[] = [];
  try {
    for (let i = 0; i < desc.numTensors; i++) {
      // Where the call was rejected meanwhile, what there is goes back.
      regions.push(await instance.allocate(tensorBytes, desc.placement, call));
      call?.check();
    }
    const addrs = BigUint64Array.from(regions, (region) => region.address);
    return new RegisteredCache(instance, await register(instance, operation, desc, addrs), regions);
  } catch (error) {
    const had = instance.regions.all().reduce((sum, region) => sum + region.byteLength, 0n);
    for (const region of regions) await region.release();
    throw regions.length < desc.numTensors
      ? withoutMemory(error, desc, { tensorBytes, tensor: regions.length, had })
      : error;
  }
}

const NO_MEMORY: ReadonlySet<number> = new Set([
  LLMStatusCode.LLM_OUT_OF_MEMORY,
  LLMStatusCode.LLM_DEVICE_OUT_OF_MEMORY,
]);

interface Missing {
  readonly tensorBytes: bigint;
  /** The first one that there is no memory for. */
  readonly tensor: number;
  /** Bytes that the instance has allocated by then. */
  readonly had: bigint;
}

/** What an allocation that has failed says of the cache that it was for. Nothing of the cache is left. */
function withoutMemory(error: unknown, desc: CheckedDesc, { tensorBytes, tensor, had }: Missing): unknown {
  if (!(error instanceof LLMException) || !NO_MEMORY.has(error.statusCode)) return error;
  const { statusCode, detail } = error;
  const place = isHost(desc.placement) ? 'host' : 'device';
  return new LLMException(statusCode, {
    operation: 'allocateCache',
    message:
      `tensor ${tensor} of ${desc.numTensors}, each of ${tensorBytes} bytes of ${place} memory, could not be allocated: the ` +
      `cache takes ${tensorBytes * BigInt(desc.numTensors)} bytes, and the instance had ${had} bytes allocated`,
    detail,
    cause: error,
  });
}

/** Bytes of one tensor of a cache that can be allocated. */
function allocationSize({ guards }: Instance, desc: CheckedDesc): bigint {
  const operation = 'allocateCache';
  if (guards) guardDescription(operation, desc);
  const size = cacheSize(desc);
  if (size !== undefined && desc.numTensors > 0) return size.tensorBytes;
  // Nothing to allocate; registering it is what the library would refuse.
  throw new LLMException(LLMStatusCode.LLM_PARAM_INVALID, {
    operation,
    message: `a cache of ${desc.numTensors} tensors of shape [${desc.shape.join(', ')}] and type ${desc.dataType} has no size`,
  });
}

async function register(
  instance: Instance,
  operation: 'registerCache' | 'allocateCache',
  desc: CheckedDesc,
  addrs: BigUint64Array,
  call?: LimitedCall,
): Promise<Registration> {
  const { registrations, guards, links, backend } = instance;
  const size = cacheSize(desc) ?? NO_SIZE;
  if (guards) {
    await makeRoom(instance, addrs.length, addrs, size.tensorBytes);
    guardRegistration(instance, desc, addrs);
  }
  call?.begin();
  // What the library refuses for its count takes nothing, however long the list is.
  const taken = addrs.length === desc.numTensors ? addrs : NO_ADDRESSES;
  const reservation = registrations.reserve(taken, size.tensorBytes, links.made);
  try {
    // The backend gets a separate list: handles answer with this one for as long as they live.
    const cacheId = await instance.watchedOnTables(operation, () => backend.registerKvCache(desc, addrs.slice()));
    const identity = identityOf(instance, desc);
    const registration = { cacheId, desc, addrs, size, identity, isOfLibrary: false, uses: new Uses() };
    registrations.confirm(reservation, registration);
    return registration;
  } catch (error) {
    // It checks parameters first; what fails later may have left some of the addresses with the transport.
    if (isInvalid(error)) registrations.cancel(reservation);
    else registrations.strand(reservation);
    throw error;
  }
}

/** What is registered next in the present life. */
function identityOf({ life, registrations }: Instance, desc: CheckedDesc): Registration['identity'] {
  return { life, version: registrations.made + 1, fingerprint: fingerprintOf(desc) };
}

/** Caches that wait for links may have waited long enough. */
async function makeRoom(
  instance: Instance,
  numTensors: number,
  addrs: BigUint64Array,
  tensorBytes: bigint,
): Promise<void> {
  if (lacksRoom(instance, numTensors, addrs, tensorBytes)) await unregisterHeldCaches(instance);
}

function isInvalid(error: unknown): boolean {
  return error instanceof LLMException && error.statusCode === LLMStatusCode.LLM_PARAM_INVALID;
}

function guardLive(operation: string, regions: Iterable<AllocatedRegion>): void {
  for (const region of regions) {
    if (!AllocatedRegion.isFreed(region)) continue;
    throw refusal('tensor-memory', operation, `the region at ${hexAddress(region.address)} was freed`);
  }
}

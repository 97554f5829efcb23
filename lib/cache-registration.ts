import { hexAddress } from './address';
import type { BackendCacheDesc } from './backend/backend';
import { RegisteredCache } from './cache';
import { undoRegistration } from './cache-unregistration';
import type { CallLimits } from './call-options';
import { LLMException } from './exception';
import { guardDescription, guardRegistration } from './guard/registration';
import { refusal } from './guard/rule';
import type { Instance } from './instance';
import type { LimitedCall } from './limited-call';
import { AllocatedRegion } from './memory';
import type { Registration } from './registrations';
import { cacheSize } from './registrations';
import { LLMStatusCode } from './status';
import { Uses } from './uses';

const NO_ADDRESSES = new BigUint64Array(0);

/** RegisterKvCache for memory of the caller. */
export async function registerCache(
  instance: Instance,
  desc: BackendCacheDesc,
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
      const cache = new RegisteredCache(instance, await register(instance, desc, addrs, call));
      if (call?.isEnded === true) await undoRegistration(instance, cache.cacheId);
      return cache;
    };
    return instance.inTurn(operation, inTurn, call);
  };
  return await instance.run(operation, work, undefined, limits);
}

/** AllocateCache, which today's library does not implement: memory of the runtime, registered. */
export async function allocateCache(
  instance: Instance,
  desc: BackendCacheDesc,
  limits?: CallLimits,
): Promise<RegisteredCache> {
  const operation = 'allocateCache';
  const allocate = async (call: LimitedCall | undefined) => {
    const tensorBytes = allocationSize(instance, desc);
    const regions: AllocatedRegion[] = [];
    call?.begin();
    try {
      for (let i = 0; i < desc.numTensors; i++) {
        regions.push(await instance.allocate(tensorBytes, desc.placement));
        // Nobody waits for it any more: what there is goes back.
        call?.check();
      }
      const addrs = BigUint64Array.from(regions, (region) => region.address);
      const cache = new RegisteredCache(instance, await register(instance, desc, addrs, call), regions);
      if (call?.isEnded === true) {
        await undoRegistration(instance, cache.cacheId);
        for (const region of regions) await region.release();
      }
      return cache;
    } catch (error) {
      for (const region of regions) await region.release();
      throw error;
    }
  };
  return await instance.run(
    operation,
    (call) => instance.inTurn(operation, () => allocate(call), call),
    undefined,
    limits,
  );
}

/** Bytes of one tensor of a cache that can be allocated. */
function allocationSize({ guards }: Instance, desc: BackendCacheDesc): bigint {
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
  desc: BackendCacheDesc,
  addrs: BigUint64Array,
  call: LimitedCall | undefined,
): Promise<Registration> {
  const { registrations, guards, links, backend } = instance;
  if (guards) guardRegistration(instance, desc, addrs);
  const size = cacheSize(desc) ?? { tensorBytes: 0n, rows: 0n, rowBytes: 0n };
  // What the library refuses for its count takes nothing, however long the list is.
  const taken = addrs.length === desc.numTensors ? addrs : NO_ADDRESSES;
  const reservation = registrations.reserve(taken, size.tensorBytes, links.made);
  try {
    // The backend gets a list of its own: handles answer with this one for as long as they live.
    call?.begin();
    const cacheId = await backend.registerKvCache(desc, addrs.slice());
    const registration = { cacheId, desc, addrs, size, uses: new Uses() };
    registrations.confirm(reservation, registration);
    return registration;
  } catch (error) {
    // It checks parameters first; what fails later may have left some of the addresses with the transport.
    if (isInvalid(error)) registrations.cancel(reservation);
    else registrations.strand(reservation);
    throw error;
  }
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

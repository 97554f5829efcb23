import { hexAddress } from './address';
import { RegisteredCache } from './cache';
import type { CallLimits } from './call-options';
import { LLMException } from './exception';
import type { Instance } from './instance';
import type { LimitedCall } from './limited-call';
import type { Reservation } from './registrations';
import { LLMStatusCode } from './status';
import { Uses } from './uses';

/** UnregisterKvCache, when nothing uses the cache and no link holds its memory any more. */
export async function unregisterCache(instance: Instance, cacheId: bigint, limits?: CallLimits): Promise<void> {
  const operation = 'unregisterCache';
  await instance.run(operation, (call) => unregister(instance, operation, cacheId, call), cacheId, limits);
}

/** DeallocateCache, which today's library does not implement: unregisters what allocateCache made and frees it. */
export async function deallocateCache(instance: Instance, cache: RegisteredCache, limits?: CallLimits): Promise<void> {
  const operation = 'deallocateCache';
  const regions = RegisteredCache.regionsOf(cache);
  const work = async (call: LimitedCall | undefined) => {
    if (regions === undefined || instance.registrations.get(cache.cacheId) === undefined) {
      throw new LLMException(LLMStatusCode.LLM_PARAM_INVALID, {
        operation,
        message:
          regions === undefined
            ? 'the memory of this cache was not allocated by allocateCache()'
            : 'this cache was deallocated or unregistered before',
        remedy: 'Use unregisterCache() for memory of your own, and region.free() for regions that are left.',
        cacheId: cache.cacheId,
      });
    }
    await unregister(instance, operation, cache.cacheId, call);
    for (const region of regions) await region.release();
  };
  await instance.run(operation, work, cache.cacheId, limits);
}

/**
 * Part of a call. With guards the cache is unknown to the caller from now on; the library learns of it when its links
 * are gone, because it would leave them with a handle of memory that is not registered any more.
 */
function unregister(
  instance: Instance,
  operation: string,
  cacheId: bigint,
  call: LimitedCall | undefined,
): Promise<void> {
  const { registrations, guards, backend } = instance;
  if (!guards) return unregisterUnguarded(instance, operation, cacheId, call);
  const withdrawn = registrations.withdraw(cacheId);
  if (withdrawn !== undefined) {
    call?.onWithdrawal(() => {
      registrations.restore(cacheId, withdrawn);
    });
  }
  const work = async () => {
    // An earlier call may have failed, and left it registered.
    const reservation = withdrawn ?? registrations.withdraw(cacheId);
    if (reservation === undefined) {
      call?.begin();
      if (!registrations.isWithdrawn(cacheId)) await backend.unregisterKvCache(cacheId);
      return;
    }
    await waitForUsers(instance, operation, cacheId, reservation.registration?.uses, call);
    call?.begin();
    await letGo(instance, cacheId, reservation);
  };
  return instance.inTurn(operation, work, call);
}

/** Has the library forget a withdrawn cache, as soon as no link can hold its memory. */
async function letGo(instance: Instance, cacheId: bigint, reservation: Reservation): Promise<void> {
  const { registrations, links, backend } = instance;
  if (links.mayHold(reservation.linksBefore)) {
    reservation.waitsForLinks = true;
    return;
  }
  try {
    await backend.unregisterKvCache(cacheId);
  } catch (error) {
    registrations.restore(cacheId, reservation);
    throw error;
  }
  registrations.remove(cacheId);
  await freeHeldRegions(instance);
}

/** Part of the call that has registered a cache, and that nothing waits for any more: nothing has its handle. */
export async function undoRegistration(instance: Instance, cacheId: bigint): Promise<void> {
  const { guards, registrations, backend } = instance;
  const reservation = registrations.withdraw(cacheId);
  if (reservation === undefined) return;
  if (guards) {
    await letGo(instance, cacheId, reservation);
    return;
  }
  await backend.unregisterKvCache(cacheId);
  registrations.remove(cacheId);
}

/** As the library does it; only those calls are waited for that came before. */
function unregisterUnguarded(
  instance: Instance,
  operation: string,
  cacheId: bigint,
  call: LimitedCall | undefined,
): Promise<void> {
  const { registrations, backend } = instance;
  const registration = registrations.get(cacheId);
  const before = registration?.uses;
  if (registration !== undefined) registration.uses = new Uses(before);
  const work = async () => {
    await waitForUsers(instance, operation, cacheId, before, call);
    call?.begin();
    await backend.unregisterKvCache(cacheId);
    registrations.remove(cacheId);
  };
  return instance.inTurn(operation, work, call);
}

async function waitForUsers(
  instance: Instance,
  operation: string,
  cacheId: bigint,
  used: Uses | undefined,
  call: LimitedCall | undefined,
): Promise<void> {
  for (const uses of used?.busy ?? []) {
    await instance.idle(operation, uses, `the transfers and copies of cache ${cacheId}`, call);
  }
}

/** Unregisters the caches that no link can hold any more, and frees the memory that waited for that. */
export async function unregisterHeldCaches(instance: Instance): Promise<void> {
  const { registrations, links, backend, clusterId } = instance;
  for (const { cacheId, reservation } of [...registrations.waiting()]) {
    if (instance.isLost) return;
    if (links.mayHold(reservation.linksBefore)) continue;
    try {
      await backend.unregisterKvCache(cacheId);
      registrations.remove(cacheId);
    } catch (error) {
      registrations.abandon(reservation);
      const what = `cache ${cacheId} of cluster ${clusterId} could not be unregistered when its links were gone`;
      warn(`${what}; its memory and its place in the table stay taken until finalize()`, error);
    }
  }
  await freeHeldRegions(instance);
}

async function freeHeldRegions(instance: Instance): Promise<void> {
  for (const region of instance.regions.all()) {
    if (instance.isLost) return;
    try {
      await region.releaseHeld();
    } catch (error) {
      const what = `${region.byteLength} bytes at ${hexAddress(region.address)} of cluster ${instance.clusterId}`;
      warn(`${what} could not be freed when their links were gone`, error);
    }
  }
}

/** The caller has had his answer: nobody else would hear of this. */
function warn(what: string, error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error);
  process.emitWarning(`${what}. ${reason}`, 'LLMDataDistMemoryWarning');
}

import { hexAddress } from './address';
import { RegisteredCache } from './cache';
import type { CallLimits } from './call-options';
import { LLMException } from './exception';
import type { Instance } from './instance';
import { unlessLibraryDoes } from './library-call';
import type { LimitedCall } from './limited-call';
import type { Registration, Reservation } from './registrations';
import { Repeatable } from './repeatable';
import { LLMStatusCode, statusName } from './status';
import { Uses } from './uses';

/** UnregisterKvCache, when nothing uses the cache and no link holds its memory any more. */
export async function unregisterCache(instance: Instance, cacheId: bigint, limits?: CallLimits): Promise<void> {
  const operation = 'unregisterCache';
  const work = async (call: LimitedCall | undefined) => {
    if (instance.guards && instance.registrations.get(cacheId)?.isOfLibrary === true) {
      throw new LLMException(LLMStatusCode.LLM_PARAM_INVALID, {
        operation,
        message: 'the library has allocated this cache, and gives it back as a whole',
        remedy: 'Use deallocateCache() for it.',
        cacheId,
      });
    }
    await unregister(instance, operation, cacheId, false, call);
  };
  await instance.run(operation, work, cacheId, limits);
}

/** DeallocateCache, or the package unregisters what allocateCache made and frees it, where the library does not implement it. */
export async function deallocateCache(instance: Instance, cache: RegisteredCache, limits?: CallLimits): Promise<void> {
  const operation = 'deallocateCache';
  const regions = RegisteredCache.regionsOf(cache);
  const known = RegisteredCache.registrationOf(cache);
  const deallocate = async (call: LimitedCall | undefined) => {
    const registration = instance.registrations.get(cache.cacheId);
    const isAllocated = regions !== undefined || known.isOfLibrary;
    if (!isAllocated || registration === undefined) {
      throw new LLMException(LLMStatusCode.LLM_PARAM_INVALID, {
        operation,
        message: !isAllocated
          ? 'the memory of this cache was not allocated by allocateCache()'
          : 'this cache was deallocated or unregistered before',
        remedy: 'Use unregisterCache() for memory of your own, and region.free() for regions that are left.',
        cacheId: cache.cacheId,
      });
    }
    await unregister(instance, operation, cache.cacheId, true, call);
    for (const region of regions ?? []) await region.release();
  };
  const work = async (call: LimitedCall | undefined) => {
    // Where there is none, nothing waits: the cache is unknown to the caller from the call on.
    const before = deallocations.get(known);
    if (before?.ranOn === true && (await before.hasSucceeded(call))) return;
    const answer = deallocate(call);
    if (call !== undefined) deallocations.set(known, new Repeatable(call, answer));
    await answer;
  };
  await instance.run(operation, work, cache.cacheId, limits);
}

/** Of each cache the last deallocateCache with options that may end it. */
const deallocations = new WeakMap<Registration, Repeatable>();

/**
 * Part of a call. With guards the cache is unknown to the caller from now on; the library learns of it when its links
 * are gone, because it would leave them with a handle of memory that is not registered any more.
 * @param deallocates whether the library is asked to deallocate it first
 */
function unregister(
  instance: Instance,
  operation: string,
  cacheId: bigint,
  deallocates: boolean,
  call: LimitedCall | undefined,
): Promise<void> {
  const { registrations, guards } = instance;
  if (!guards) return unregisterUnguarded(instance, operation, cacheId, deallocates, call);
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
      if (!registrations.isWithdrawn(cacheId)) await libraryUnregisters(instance, cacheId);
      return;
    }
    try {
      await waitForUsers(instance, operation, cacheId, reservation.registration?.uses, call);
    } catch (error) {
      // One that was withdrawn has been restored already, and another call may have withdrawn it since.
      if (call?.isWithdrawn !== true) registrations.restore(cacheId, reservation);
      throw error;
    }
    call?.begin();
    await unregisterWithdrawn(instance, cacheId, reservation, deallocates);
  };
  return instance.inTurn(operation, work, call);
}

/** Has the library forget a withdrawn cache, as soon as no link can hold its memory. */
async function unregisterWithdrawn(
  instance: Instance,
  cacheId: bigint,
  reservation: Reservation,
  deallocates: boolean,
): Promise<void> {
  const { registrations, links } = instance;
  try {
    const isGone = deallocates && (await libraryDeallocates(instance, cacheId));
    if (!isGone && links.mayHold(reservation.linksBefore)) {
      registrations.defer(reservation);
      await unregisterIfUnlinked(instance, cacheId);
      return;
    }
    if (!isGone) await libraryUnregisters(instance, cacheId);
  } catch (error) {
    registrations.restore(cacheId, reservation);
    throw error;
  }
  await freeHeldRegions(instance, registrations.remove(cacheId));
}

/** Part of a call that has registered a cache and was rejected before: nothing has the handle of the cache. */
export async function undoRegistration(instance: Instance, cacheId: bigint): Promise<void> {
  const { guards, registrations, clusterId } = instance;
  const deallocates = registrations.get(cacheId)?.isOfLibrary === true;
  const reservation = registrations.withdraw(cacheId);
  if (reservation === undefined) return;
  try {
    if (guards) {
      await unregisterWithdrawn(instance, cacheId, reservation, deallocates);
      return;
    }
    if (!deallocates || !(await libraryDeallocates(instance, cacheId))) await libraryUnregisters(instance, cacheId);
    registrations.remove(cacheId);
  } catch (error) {
    if (instance.isLost) throw error;
    const what = `cache ${cacheId} of cluster ${clusterId}, whose call was rejected before, could not be unregistered`;
    warn(`${what}; it stays registered until finalize()`, error);
  }
}

function libraryUnregisters(instance: Instance, cacheId: bigint): Promise<void> {
  return instance.watchedOnTables('unregisterCache', () => instance.backend.unregisterKvCache(cacheId));
}

/** @returns whether the library has done it */
function libraryDeallocates(instance: Instance, cacheId: bigint): Promise<boolean> {
  const deallocate = async () => {
    await instance.watchedOnTables('deallocateCache', () => instance.backend.deallocateCache(cacheId));
    return true;
  };
  return unlessLibraryDoes(deallocate, () => Promise.resolve(false));
}

/** As the library does it; only those calls are waited for that came before. */
function unregisterUnguarded(
  instance: Instance,
  operation: string,
  cacheId: bigint,
  deallocates: boolean,
  call: LimitedCall | undefined,
): Promise<void> {
  const { registrations } = instance;
  const registration = registrations.get(cacheId);
  const before = registration?.uses;
  if (registration !== undefined) registration.uses = new Uses(before);
  const work = async () => {
    await waitForUsers(instance, operation, cacheId, before, call);
    call?.begin();
    if (!deallocates || !(await libraryDeallocates(instance, cacheId))) await libraryUnregisters(instance, cacheId);
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

/**
 * Unregisters waiting caches of an instance that listens where its backend can say that no peer is linked.
 * @param first the one that has begun to wait; nothing more is asked where that one has to
 */
async function unregisterIfUnlinked(instance: Instance, first: bigint): Promise<void> {
  const { registrations } = instance;
  if (await unregisterUnlinked(instance, [first])) await unregisterAllUnlinked(instance);
  else warnOfWaiting(instance);
  if (registrations.waitingCount === 0) warnedOf.delete(instance);
}

/** The same for all that wait: called where there is no room for a cache, too. */
export async function unregisterAllUnlinked(instance: Instance): Promise<void> {
  const ids = Array.from(instance.registrations.waiting(), ({ cacheId }) => cacheId);
  if (ids.length > 0) await unregisterUnlinked(instance, ids);
}

/** @returns whether none of them waits any more */
async function unregisterUnlinked(instance: Instance, cacheIds: readonly bigint[]): Promise<boolean> {
  const { backend, links, transferTimeoutMs: timeoutMs } = instance;
  const ask = backend.unregisterUnlinked?.bind(backend);
  // Of links that this side made and an instance that does not listen has no others, so that there is nothing to ask.
  if (ask === undefined || links.listenIpInfo === undefined) return false;
  const operation = 'unregisterCache';
  let statuses: readonly number[];
  try {
    statuses = await instance.watched({ operation, timeoutMs }, () => ask(BigInt64Array.from(cacheIds)));
  } catch (error) {
    if (instance.isLost) throw error;
    warn(`it is not known whether cluster ${instance.clusterId} is linked: its unregistered caches wait`, error);
    return false;
  }
  const gone: BigUint64Array[] = [];
  for (const [i, statusCode] of statuses.entries()) {
    const cacheId = cacheIds[i];
    if (cacheId !== undefined) gone.push(...settle(instance, cacheId, statusCode));
  }
  for (const addrs of gone) await freeHeldRegions(instance, addrs);
  return statuses.length === cacheIds.length;
}

/** @returns where the tensors were, of a cache that is unregistered now */
function settle({ registrations, clusterId }: Instance, cacheId: bigint, statusCode: number): BigUint64Array[] {
  if (statusCode === (LLMStatusCode.LLM_SUCCESS as number)) return [registrations.remove(cacheId)];
  for (const waiting of registrations.waiting())
    if (waiting.cacheId === cacheId) registrations.abandon(waiting.reservation);
  const what = `cache ${cacheId} of cluster ${clusterId} could not be unregistered although it is not linked`;
  warn(`${what}; its memory and its place in the table stay taken until finalize()`, statusName(statusCode));
  return [];
}

/** The number of waiting caches at which the first warning is given; the next ones follow at ten times as many each. */
const MANY_WAITING = 100;
const warnedOf = new WeakMap<Instance, number>();

/** What waits takes memory and room in the table, and an instance that is never without a link gets none of it back. */
function warnOfWaiting(instance: Instance): void {
  const { registrations, links, clusterId, backend } = instance;
  const limit = warnedOf.get(instance) ?? MANY_WAITING;
  if (registrations.waitingCount < limit) return;
  warnedOf.set(instance, limit * 10);
  process.emitWarning(
    `${registrations.waitingCount} caches of cluster ${clusterId} are unregistered, and wait until no peer can be linked that ` +
      `holds their memory; until then it is not given back, and the table keeps their places. To have them given back: ` +
      `${links.remedy(0, backend.unregisterUnlinked !== undefined)}. Or register memory once and use its blocks again.`,
    'LLMDataDistMemoryWarning',
  );
}

/** Unregisters the caches that no link can hold any more, and frees the memory that waited for that. */
export async function unregisterHeldCaches(instance: Instance): Promise<void> {
  // The call that has lost it says so.
  if (!instance.isLost) await unregisterHeld(instance);
}

async function unregisterHeld(instance: Instance): Promise<void> {
  const { registrations, links, clusterId } = instance;
  await unregisterAllUnlinked(instance);
  const gone: BigUint64Array[] = [];
  for (const { cacheId, reservation } of [...registrations.waiting()]) {
    if (links.mayHold(reservation.linksBefore)) continue;
    try {
      await libraryUnregisters(instance, cacheId);
      gone.push(registrations.remove(cacheId));
    } catch (error) {
      if (instance.isLost) throw error;
      registrations.abandon(reservation);
      const what = `cache ${cacheId} of cluster ${clusterId} could not be unregistered when its links were gone`;
      warn(`${what}; its memory and its place in the table stay taken until finalize()`, error);
    }
  }
  for (const addrs of gone) await freeHeldRegions(instance, addrs);
}

/**
 * The held regions of a cache that the library has unregistered: others wait for other caches. To look at all of them each
 * time would make a cache dearer the more of them wait.
 */
async function freeHeldRegions(instance: Instance, addrs: BigUint64Array): Promise<void> {
  for (const region of instance.regions.of(addrs)) {
    if (instance.isLost) return;
    try {
      await region.releaseHeld();
    } catch (error) {
      const what = `${region.byteLength} bytes at ${hexAddress(region.address)} of cluster ${instance.clusterId}`;
      warn(`${what} could not be freed when their links were gone`, error);
    }
  }
}

/** The call has returned already, so that only a warning can report this. */
function warn(what: string, error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error);
  process.emitWarning(`${what}. ${reason}`, 'LLMDataDistMemoryWarning');
}

import { LLMDataDist, LLMException, LLMRole, LLMStatusCode } from '../lib';
import type { Backend, KvCache } from '../lib';
import { Deadline } from '../lib/deadline';
import { turn } from './bad-input/states';
import { expectQuietProcess } from './bad-input/quiet-process';
import { DESC, rejection } from './fixtures/cluster';
import { expectNoTimers, GRACE, initialised, OTHER, pass, PROMPT, watch } from './fixtures/hangs';
import { hold } from './fixtures/held-calls';

expectQuietProcess();
expectNoTimers();

const CALLS: [string, Parameters<typeof hold>[1], number, (dist: LLMDataDist) => Promise<unknown>][] = [
  ['init', 'initialize', 0, (dist) => dist.init({ deviceId: 0 })],
  ['switchRole', 'setRole', 0, (dist) => dist.switchRole(LLMRole.MIX)],
  ['linkClusters', 'linkLlmClusters', 5000, (dist) => dist.linkClusters([PROMPT, OTHER], { timeout: 5000 })],
  ['linkClusters', 'linkLlmClusters', 3000, (dist) => dist.linkClusters([PROMPT])],
  ['linkClusters', 'linkLlmClusters', 0, (dist) => dist.linkClusters([PROMPT], { timeout: -5 })],
  ['unlinkClusters', 'unlinkLlmClusters', 7000, (dist) => dist.unlinkClusters([PROMPT], { timeout: 7000 })],
  ['finalize', 'finalize', 0, (dist) => dist.finalize()],
];

describe.each(CALLS)('%s that hangs (case %#)', (operation, method, ownMs, call) => {
  test.each([
    [undefined, GRACE],
    [1, 1],
    [2 ** 31 - 1, 2 ** 31 - 1],
  ])(
    'is given up after its own time and the hangTimeout of %p, and the instance is lost',
    async (hangTimeout, grace) => {
      const { dist, backend, calls } = await initialised(hangTimeout === undefined ? {} : { hangTimeout });
      const held = hold(backend, method);
      const watched = watch(call(dist));
      await held.hasEntered(1);
      await pass(ownMs + grace - 1);
      expect([watched.outcome, dist.isLost]).toEqual(['pending', false]);
      await pass(1);
      expect(watched.outcome).toBeInstanceOf(LLMException);
      expect(watched.outcome).toMatchObject({ code: 'LLM_TIMEOUT', operation, recovery: 'fatal' });
      const { message, remedy, results } = watched.outcome as LLMException;
      expect(message).toContain(`had not returned after ${ownMs + grace} ms`);
      expect(message).toContain('the instance of cluster 2 is lost');
      expect(remedy).toMatch(/^Restart the process/);
      expect(results).toEqual(operation.endsWith('Clusters') ? [] : undefined);
      expect(dist.isLost).toBe(true);
      // What becomes of it after all is nobody's business any more.
      held.open();
      await turn();
      expect(calls).toEqual([method]);
      expect(await rejection(dist.finalize())).toMatchObject({ code: 'LLM_FAILED', operation: 'finalize' });
      expect(calls).toEqual([method]);
    },
  );

  test('and comes back in time leaves no trace', async () => {
    const { dist, backend } = await initialised();
    const held = hold(backend, method);
    const watched = watch(call(dist));
    await held.hasEntered(1);
    await pass(ownMs + GRACE - 1);
    held.open();
    await turn();
    expect(watched.outcome).not.toBe('pending');
    await pass(10 * GRACE);
    expect(dist.isLost).toBe(false);
  });

  test('and fails late has been told, and is not told twice', async () => {
    const { dist, backend } = await initialised();
    const held = hold(backend, method);
    const watched = watch(call(dist));
    await held.hasEntered(1);
    await pass(ownMs + GRACE);
    held.fail(new LLMException(LLMStatusCode.LLM_FAILED, { operation }));
    await turn();
    expect(watched.outcome).toMatchObject({ code: 'LLM_TIMEOUT' });
  });
});

/** Transfers that have the library's tables locked end within `syncKvTimeout`. */
const OF_TABLES_MS = 1000 + GRACE;

const REGISTRATIONS: [string, keyof Backend, (dist: LLMDataDist, cache: KvCache) => Promise<unknown>][] = [
  [
    'registerCache',
    'registerKvCache',
    async ({ kvCacheManager }, cache) => {
      await kvCacheManager.unregisterCache(cache);
      return kvCacheManager.registerCache(DESC, cache.tensorAddrs);
    },
  ],
  ['allocateCache', 'registerKvCache', ({ kvCacheManager }) => kvCacheManager.allocateCache(DESC)],
  ['allocateCache', 'allocateCache', ({ kvCacheManager }) => kvCacheManager.allocateCache(DESC)],
  ['unregisterCache', 'unregisterKvCache', ({ kvCacheManager }, cache) => kvCacheManager.unregisterCache(cache)],
  ['deallocateCache', 'unregisterKvCache', ({ kvCacheManager }, cache) => kvCacheManager.deallocateCache(cache)],
  ['deallocateCache', 'deallocateCache', ({ kvCacheManager }, cache) => kvCacheManager.deallocateCache(cache)],
];

describe.each([true, false])('with guards: %p', (guards) => {
  test.each(REGISTRATIONS)(
    '%s that hangs in %s is given up, and the instance is lost',
    async (operation, method, call) => {
      // What the backend says of other control calls does not count.
      const { dist, backend } = await initialised({ guards }, { controlElapsedMs: () => 0 });
      const cache = await dist.kvCacheManager.allocateCache(DESC);
      const held = hold(backend, method as Parameters<typeof hold>[1]);
      const watched = watch(call(dist, cache));
      await held.hasEntered(1);
      const waiting = watch(dist.kvCacheManager.allocateCache(DESC));
      await pass(OF_TABLES_MS - 1);
      expect([watched.outcome, waiting.outcome, dist.isLost]).toEqual(['pending', 'pending', false]);
      await pass(1);
      expect(watched.outcome).toMatchObject({ code: 'LLM_TIMEOUT', operation, recovery: 'fatal', deadline: 'package' });
      const { message, remedy } = watched.outcome as LLMException;
      expect(message).toMatch(/had not returned after 61000 ms; the instance of cluster 2 is lost/);
      expect(remedy).toContain('The library may keep its tables locked');
      expect(waiting.outcome).toMatchObject({ code: 'LLM_FAILED', recovery: 'fatal' });
      expect(await rejection(dist.finalize())).toMatchObject({ code: 'LLM_FAILED' });
      held.open();
    },
  );

  test('one that is rejected before, and hangs when it is undone, loses the instance too', async () => {
    const { dist, backend } = await initialised({ guards });
    const registering = hold(backend, 'registerKvCache');
    const unregistering = hold(backend, 'unregisterKvCache');
    const controller = new AbortController();
    const watched = watch(dist.kvCacheManager.allocateCache(DESC, { signal: controller.signal }));
    await registering.hasEntered(1);
    controller.abort();
    registering.open();
    await unregistering.hasEntered(1);
    expect(watched.outcome).toMatchObject({ name: 'AbortError' });
    const { released } = watched.outcome as { readonly released: Promise<void> };
    const end = watch(released);
    await pass(OF_TABLES_MS);
    expect(end.outcome).toMatchObject({ code: 'LLM_TIMEOUT', recovery: 'fatal' });
    expect(dist.isLost).toBe(true);
    unregistering.open();
  });
});

test('an unlink whose waiting caches hang when they are unregistered says so', async () => {
  const { dist, backend } = await initialised();
  const cache = await dist.kvCacheManager.allocateCache(DESC);
  Object.assign(backend, { linkLlmClusters: done, unlinkLlmClusters: done });
  await dist.linkClusters([PROMPT]);
  await dist.kvCacheManager.unregisterCache(cache);
  const held = hold(backend, 'unregisterKvCache');
  const watched = watch(dist.unlinkClusters([PROMPT]));
  await held.hasEntered(1);
  await pass(OF_TABLES_MS);
  expect(watched.outcome).toMatchObject({ code: 'LLM_TIMEOUT', operation: 'unlinkClusters', recovery: 'fatal' });
  held.open();
});

function done(): Promise<readonly number[]> {
  return Promise.resolve([LLMStatusCode.LLM_SUCCESS]);
}

test.each([
  ['linkClusters', (dist: LLMDataDist) => dist.linkClusters([PROMPT, OTHER])],
  ['unlinkClusters', (dist: LLMDataDist) => dist.unlinkClusters([PROMPT, OTHER])],
] as const)('%s names the peers and where they should listen', async (operation, call) => {
  const { dist, backend } = await initialised();
  const held = hold(backend, operation === 'linkClusters' ? 'linkLlmClusters' : 'unlinkLlmClusters');
  const watched = watch(call(dist));
  await held.hasEntered(1);
  await pass(GRACE + 3000);
  const { message, remedy } = watched.outcome as LLMException;
  expect(message).toContain(`${operation} of cluster 1 (10.0.0.1:26000), cluster 3 (10.0.0.3:26001) had not returned`);
  expect(remedy).toContain('check what listens on 10.0.0.1:26000, 10.0.0.3:26001');
});

test('a single peer is the clusterId of the exception, and one without an address is told as such', async () => {
  const { dist, backend } = await initialised();
  const held = hold(backend, 'unlinkLlmClusters');
  const watched = watch(dist.unlinkClusters([{ ...PROMPT, remoteIpInfos: [] }]));
  await held.hasEntered(1);
  await pass(GRACE + 3000);
  expect(watched.outcome).toMatchObject({ clusterId: 1n });
  expect((watched.outcome as LLMException).message).toContain('cluster 1 (no address)');
});

test('a forced unlink has a deadline too: it may wait for the transport', async () => {
  const { dist, backend } = await initialised();
  const held = hold(backend, 'unlinkLlmClusters');
  const unlinked = watch(dist.unlinkClusters([PROMPT], { force: true }));
  await held.hasEntered(1);
  await pass(GRACE + 3000);
  expect(unlinked.outcome).toMatchObject({ code: 'LLM_TIMEOUT', operation: 'unlinkClusters' });
  expect(dist.isLost).toBe(true);
  held.open();
});

describe('the deadline of a call', () => {
  test('begins when its turn has come', async () => {
    const { dist, backend } = await initialised();
    const held = hold(backend, 'linkLlmClusters');
    const first = watch(dist.linkClusters([PROMPT]));
    const second = watch(dist.linkClusters([OTHER]));
    await held.hasEntered(1);
    await pass(GRACE);
    held.letGo();
    await held.hasEntered(2);
    await pass(GRACE + 2999);
    expect(first.outcome).toMatchObject({ code: 'LLM_LINK_FAILED' });
    expect(second.outcome).toBe('pending');
    await pass(1);
    expect(second.outcome).toMatchObject({ code: 'LLM_TIMEOUT' });
  });

  test('does not count what an unlink waits for transfers', async () => {
    const { dist, backend, caches } = await initialised();
    const cache = await caches.allocateCache(DESC);
    const pulls = hold(backend, 'pullKvCache');
    const unlinks = hold(backend, 'unlinkLlmClusters');
    const pulled = watch(caches.pullCache({ clusterId: 1n, cacheId: 1n }, cache));
    const unlinked = watch(dist.unlinkClusters([PROMPT]));
    await pulls.hasEntered(1);
    await pass(GRACE - 1);
    pulls.open();
    await unlinks.hasEntered(1);
    await pass(GRACE + 2999);
    expect(pulled.outcome).toMatchObject({ code: 'LLM_NOT_YET_LINK' });
    expect(unlinked.outcome).toBe('pending');
    unlinks.open();
    await turn();
    expect(unlinked.outcome).not.toBe('pending');
  });

  test('is prolonged by what the backend says of the time inside the library', async () => {
    let insideMs = 0;
    const { dist, backend } = await initialised({}, { controlElapsedMs: () => insideMs });
    const held = hold(backend, 'setRole');
    const watched = watch(dist.switchRole(LLMRole.MIX));
    await held.hasEntered(1);
    // Another instance of the process holds the library.
    await pass(GRACE);
    await pass(GRACE);
    insideMs = GRACE - 10;
    await pass(GRACE);
    expect(watched.outcome).toBe('pending');
    insideMs = GRACE;
    await pass(10);
    expect(watched.outcome).toMatchObject({ code: 'LLM_TIMEOUT' });
  });

  test('spares an answer that has been there when the event loop had no time for it', async () => {
    const { dist, backend } = await initialised();
    const held = hold(backend, 'setRole');
    const watched = watch(dist.switchRole(LLMRole.MIX));
    await held.hasEntered(1);
    jest.advanceTimersByTime(10 * GRACE);
    // The timer has fired; the answer is next in the same round of the loop.
    held.open();
    await turn();
    await turn();
    expect(watched.outcome).toBe('resolved');
    expect(dist.isLost).toBe(false);
  });

  test('may be longer than a timer of Node', async () => {
    const expired = jest.fn();
    const deadline = new Deadline(2 ** 32, () => 0, expired);
    await pass(2 ** 32 - 1);
    expect(expired).not.toHaveBeenCalled();
    await pass(1);
    expect(expired).toHaveBeenCalledTimes(1);
    deadline.end();
  });
});

test.each([
  [0, RangeError],
  [2 ** 31, RangeError],
  [1.5, RangeError],
  ['1000', TypeError],
  [null, TypeError],
])('hangTimeout is not %p', (hangTimeout, error) => {
  expect(() => new LLMDataDist(LLMRole.MIX, 1n, { backend: 'mock', hangTimeout: hangTimeout as number })).toThrow(
    error,
  );
});

import { LLMException, LLMRole, LLMStatusCode, Placement } from '../lib';
import type { Backend, LLMDataDistOptions } from '../lib';
import { METHODS } from './bad-input/methods';
import { linkedNodes } from './bad-input/nodes';
import { turn } from './bad-input/states';
import { expectQuietProcess } from './bad-input/quiet-process';
import { DESC, rejection } from './fixtures/cluster';
import { alone, expectNoTimers, GRACE, initialised, OTHER, pass, PROMPT, watch } from './fixtures/hangs';
import { hold } from './fixtures/held-calls';
import { warningsDuring } from './fixtures/warnings';

expectQuietProcess();
expectNoTimers();

describe('a lost instance', () => {
  /** Lost in a switch of the role. */
  async function lost(more: Partial<Backend> = {}) {
    const nodes = await initialised({}, more);
    const region = await nodes.dist.allocateMemory(64);
    const held = hold(nodes.backend, 'setRole');
    const watched = watch(nodes.dist.switchRole(LLMRole.MIX));
    await held.hasEntered(1);
    await pass(GRACE);
    nodes.calls.length = 0;
    return { ...nodes, region, told: watched.outcome as LLMException };
  }

  test('refuses every call at once, and says since when', async () => {
    const nodes = await linkedNodes();
    const { dist, backend } = nodes.decoder;
    const original = Reflect.get(backend, 'setRole') as () => unknown;
    const held = hold(backend, 'setRole');
    const watched = watch(dist.switchRole(LLMRole.MIX));
    await held.hasEntered(1);
    await pass(GRACE);
    nodes.calls.length = 0;
    for (const method of METHODS) {
      const error = await rejection(method.call(nodes, Object.values(method.args(nodes))) as Promise<unknown>);
      expect(error).toMatchObject({ code: 'LLM_FAILED', operation: method.name, recovery: 'fatal' });
      expect(String(error)).toContain('cluster 2 is lost: switchRole had not returned after 60000 ms');
      expect((error as LLMException).cause).toBe(watched.outcome);
    }
    expect(await rejection(dist.finalize())).toMatchObject({ code: 'LLM_FAILED', recovery: 'fatal' });
    expect(nodes.calls).toEqual([]);
    expect(dist.isInitialized).toBe(true);
    // The backend itself is well, and the test cleans up behind it.
    backend.setRole = original as typeof backend.setRole;
    await backend.finalize();
  });

  test('is left in silence at the end of a block, and so is its memory', async () => {
    const { dist, region, calls } = await lost();
    await region[Symbol.asyncDispose]();
    await dist[Symbol.asyncDispose]();
    expect(await rejection(region.free())).toMatchObject({ code: 'LLM_FAILED', recovery: 'fatal' });
    expect(calls).toEqual([]);
  });

  test('is not finalized when it is garbage-collected', async () => {
    const unregister = jest.spyOn(FinalizationRegistry.prototype, 'unregister');
    await lost();
    expect(unregister).toHaveBeenCalledTimes(1);
    unregister.mockRestore();
  });

  test('was abandoned by its backend, once', async () => {
    const abandon = jest.fn();
    const { dist } = await lost({ abandon });
    await rejection(dist.linkClusters([PROMPT]));
    expect(abandon).toHaveBeenCalledTimes(1);
    expect(abandon).toHaveBeenCalledWith();
  });

  test('names what the backend made of abandoning as the cause', async () => {
    const problem = new Error('cannot abandon');
    const abandon = () => {
      throw problem;
    };
    const { told } = await lost({ abandon });
    expect(told).toMatchObject({ code: 'LLM_TIMEOUT', cause: problem });
  });

  test('that was never initialised is as lost as any', async () => {
    const { dist, backend } = alone();
    const held = hold(backend, 'initialize');
    const watched = watch(dist.init({ deviceId: 0 }));
    await held.hasEntered(1);
    const finalized = watch(dist.finalize());
    const disposed = watch(dist[Symbol.asyncDispose]());
    await pass(GRACE);
    expect(watched.outcome).toMatchObject({ code: 'LLM_TIMEOUT', operation: 'init' });
    expect(finalized.outcome).toMatchObject({ code: 'LLM_FAILED', operation: 'finalize' });
    expect(disposed.outcome).toBe('resolved');
    expect([dist.isLost, dist.isInitialized]).toEqual([true, false]);
    expect(await rejection(dist.allocateMemory(1))).toMatchObject({ code: 'LLM_FAILED', recovery: 'fatal' });
  });

  test('that is lost by the end of its block tells that, and once', async () => {
    const { dist, backend } = await initialised();
    const held = hold(backend, 'finalize');
    const disposed = watch(dist[Symbol.asyncDispose]());
    await held.hasEntered(1);
    await pass(GRACE);
    expect(disposed.outcome).toMatchObject({ code: 'LLM_TIMEOUT', operation: 'finalize' });
    await dist[Symbol.asyncDispose]();
    // Nobody knows how far the library got.
    expect(dist.isInitialized).toBe(true);
  });
});

test('calls that wait for their turn are refused at once when the instance is lost', async () => {
  const { dist, backend, caches, calls } = await initialised();
  const cache = await caches.allocateCache(DESC);
  const region = await dist.allocateMemory(64);
  const held = hold(backend, 'linkLlmClusters');
  const reads = hold(backend, 'read');
  const linked = watch(dist.linkClusters([PROMPT]));
  await held.hasEntered(1);
  const read = watch(region.read());
  await reads.hasEntered(1);
  calls.length = 0;
  await pass(10_000);
  const waiting: Record<string, { outcome: unknown }> = {
    linkClusters: watch(dist.linkClusters([OTHER])),
    unlinkClusters: watch(dist.unlinkClusters([PROMPT])),
    pullCache: watch(caches.pullCache({ clusterId: 1n, cacheId: 1n }, cache)),
    free: watch(region.free()),
    unregisterCache: watch(caches.unregisterCache(cache)),
    registerCache: watch(caches.registerCache(DESC, [1n, 2n, 3n, 4n])),
    allocateCache: watch(caches.allocateCache(DESC)),
    switchRole: watch(dist.switchRole(LLMRole.MIX)),
    finalize: watch(dist.finalize()),
    init: watch(dist.init({ deviceId: 0 })),
  };
  await pass(GRACE - 7001);
  for (const { outcome } of Object.values(waiting)) expect(outcome).toBe('pending');
  await pass(1);
  expect(linked.outcome).toMatchObject({ code: 'LLM_TIMEOUT' });
  for (const [operation, { outcome }] of Object.entries(waiting)) {
    expect(outcome).toMatchObject({ code: 'LLM_FAILED', operation, recovery: 'fatal' });
  }
  // What was inside ends as it does.
  expect(read.outcome).toBe('pending');
  reads.open();
  held.open();
  await turn();
  expect(read.outcome).toBe('resolved');
  expect(calls).toEqual(['read', 'linkLlmClusters']);
});

test.each([
  ['unregisterKvCache', ['read', 'unregisterKvCache'], { code: 'LLM_FAILED', recovery: 'fatal' }],
  ['free', ['free', 'read'], 'resolved'],
] as const)(
  'what waits for links is left alone when the instance is lost during a %s',
  async (method, expected, end) => {
    const { dist, backend, caches, calls } = await initialised();
    const all = [await caches.allocateCache(DESC), await caches.allocateCache(DESC)];
    const region = await dist.allocateMemory(64);
    const links = hold(backend, 'linkLlmClusters');
    const linked = rejection(dist.linkClusters([PROMPT]));
    // How far this link got is not known.
    links.fail(new LLMException(LLMStatusCode.LLM_FAILED, { operation: 'linkClusters' }));
    await linked;
    for (const cache of all) await caches.deallocateCache(cache);
    const held = hold(backend, method);
    const reads = hold(backend, 'read');
    const [read, freed] = [watch(region.read()), watch(region.free())];
    await reads.hasEntered(1);
    await pass(1);
    const unlinked = watch(dist.unlinkClusters([PROMPT], { force: true }));
    await held.hasEntered(1);
    await pass(GRACE + 999);
    expect(freed.outcome).toMatchObject({ code: 'LLM_TIMEOUT', operation: 'free' });
    calls.length = 0;
    held.open();
    reads.open();
    await turn();
    expect(read.outcome).toBe('resolved');
    expect([unlinked.outcome]).toMatchObject([end]);
    expect(calls.sort()).toEqual(expected);
  },
);

describe('waiting for calls in flight', () => {
  /** With the time that the library gives a transfer where nothing is said. */
  const LIMIT = GRACE + 1000;

  type Nodes = Awaited<ReturnType<typeof withCache>>;

  async function withCache(options: LLMDataDistOptions = {}, init: Record<string, string> = {}) {
    const nodes = alone(options);
    await nodes.dist.init({ deviceId: 0, ...init });
    const cache = await nodes.caches.allocateCache(DESC);
    const host = await nodes.caches.allocateCache({ ...DESC, placement: Placement.HOST });
    const region = await nodes.dist.allocateMemory(64);
    nodes.calls.length = 0;
    const pull = () => watch(nodes.caches.pullCache({ clusterId: 1n, cacheId: 1n }, cache));
    return { ...nodes, cache, host, region, pull };
  }

  const WAITING: [string, Parameters<typeof hold>[1], (nodes: Nodes) => unknown, (nodes: Nodes) => Promise<unknown>][] =
    [
      ['finalize', 'pullKvCache', ({ pull }) => pull(), ({ dist }) => dist.finalize()],
      ['finalize', 'malloc', ({ dist }) => watch(dist.allocateMemory(8)), ({ dist }) => dist.finalize()],
      ['unlinkClusters', 'pullKvCache', ({ pull }) => pull(), ({ dist }) => dist.unlinkClusters([PROMPT])],
      ['unregisterCache', 'pullKvCache', ({ pull }) => pull(), ({ caches, cache }) => caches.unregisterCache(cache)],
      ['deallocateCache', 'pullKvCache', ({ pull }) => pull(), ({ caches, cache }) => caches.deallocateCache(cache)],
      ['free', 'read', ({ region }) => watch(region.read()), ({ region }) => region.free()],
    ];
  test.each(WAITING)('%s gives up when %s does not come back (case %#)', async (operation, method, use, call) => {
    const nodes = await withCache();
    const held = hold(nodes.backend, method);
    use(nodes);
    await held.hasEntered(1);
    const watched = watch(call(nodes));
    await pass(LIMIT - 1);
    expect(watched.outcome).toBe('pending');
    await pass(1);
    expect(watched.outcome).toMatchObject({ code: 'LLM_TIMEOUT', operation, recovery: 'fatal' });
    expect((watched.outcome as LLMException).message).toMatch(
      /has waited 61000 ms for .* \(1 left\), and none has come back/,
    );
    expect(nodes.dist.isLost).toBe(true);
    held.open();
    await turn();
    expect(nodes.calls).toEqual([method]);
  });

  test('goes on as long as one of them comes back now and then', async () => {
    const { dist, backend, pull } = await withCache();
    const held = hold(backend, 'pullKvCache');
    const pulls = [pull(), pull(), pull()];
    await held.hasEntered(3);
    const finalized = watch(warningsDuring(() => dist.finalize()));
    for (const each of pulls) {
      await pass(LIMIT - 1);
      held.letGo();
      await turn();
      expect(each.outcome).toMatchObject({ code: 'LLM_NOT_YET_LINK' });
    }
    await turn();
    expect([finalized.outcome, dist.isLost]).toEqual(['resolved', false]);
  });

  test('gives up when they come back no more', async () => {
    const { dist, backend, pull } = await withCache();
    const held = hold(backend, 'pullKvCache');
    pull();
    pull();
    await held.hasEntered(2);
    const finalized = watch(dist.finalize());
    await pass(LIMIT - 1);
    held.letGo();
    await turn();
    await pass(1);
    await pass(LIMIT - 1);
    expect(finalized.outcome).toBe('pending');
    await pass(1);
    expect(finalized.outcome).toMatchObject({ code: 'LLM_TIMEOUT' });
  });

  test('goes on as long as a copy of many steps makes some', async () => {
    const { caches, backend, cache, host, dist } = await withCache();
    const held = hold(backend, 'copy');
    const copied = watch(caches.swapBlocks(cache, host, new Map([[0, 1]])));
    const unregistered = watch(caches.unregisterCache(cache));
    for (let tensor = 0; tensor < 4; tensor++) {
      await held.hasEntered(tensor + 1);
      await pass(LIMIT - 1);
      held.letGo();
      await turn();
    }
    expect([copied.outcome, unregistered.outcome, dist.isLost]).toEqual(['resolved', 'resolved', false]);
  });

  test('gives each transfer the time that init was told', async () => {
    const { dist, backend, pull } = await withCache({}, { 'llm.SyncKvCacheWaitTime': '120000' });
    const held = hold(backend, 'pullKvCache');
    pull();
    await held.hasEntered(1);
    const finalized = watch(dist.finalize());
    await pass(GRACE + 119_999);
    expect(finalized.outcome).toBe('pending');
    await pass(1);
    expect(finalized.outcome).toMatchObject({ code: 'LLM_TIMEOUT' });
  });
});

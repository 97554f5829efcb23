import { LLMException, LLMStatusCode, Placement } from '../lib';
import type { KvCache } from '../lib';
import { turn } from './bad-input/states';
import { expectQuietProcess } from './bad-input/quiet-process';
import { client, TO_PROMPT } from './fixtures/client';
import type { Client } from './fixtures/client';
import { DESC, rejection, rowOf } from './fixtures/cluster';
import { hold } from './fixtures/held-calls';

expectQuietProcess();

type Use = (nodes: Client, cache: KvCache, other: KvCache, host: KvCache) => Promise<void>;

const TRANSFERS: [string, Use][] = [
  ['pullKvCache', ({ caches, remote }, cache) => caches.pullCache(remote.key(), cache)],
  ['pullKvBlocks', ({ caches, remote }, cache) => caches.pullBlocks(remote.key(), cache.cacheId, [0], [0])],
  ['pushKvCache', ({ caches, remote }, cache) => caches.pushCache(remote.key(), cache)],
  ['pushKvBlocks', ({ caches, remote }, cache) => caches.pushBlocks(remote.key(), cache, [0], [0])],
];
const COPIES: [string, Use][] = [
  ['copyKvCache', ({ caches }, cache, other) => caches.copyCache(other, cache)],
  ['copyKvCache', ({ caches }, cache, other) => caches.copyCache(cache, other)],
  ['copyKvBlocks', ({ caches }, cache) => caches.copyBlocks(cache, new Map([[0, [1]]]))],
  ['copy', ({ caches }, cache, _, host) => caches.swapBlocks(cache, host, new Map([[0, 1]]))],
  ['copy', ({ caches }, cache, _, host) => caches.swapBlocks(host, cache, new Map([[0, 1]]))],
];

/** A client, not linked, with three caches. */
async function withCaches(options: { guards?: boolean } = {}) {
  const nodes = await client(options);
  const cache = await nodes.caches.allocateCache(DESC);
  const other = await nodes.caches.allocateCache(DESC);
  const host = await nodes.caches.allocateCache({ ...DESC, placement: Placement.HOST });
  nodes.calls.length = 0;
  return { ...nodes, dist: nodes.decoder.dist, cache, other, host };
}

describe.each([...TRANSFERS, ...COPIES])('%s in flight (case %#)', (method, use) => {
  test.each([
    ['unregisterCache', true],
    ['unregisterCache', false],
    ['deallocateCache', true],
    ['deallocateCache', false],
  ] as const)('is waited for by %s (guards: %s)', async (ending, guards) => {
    const nodes = await withCaches({ guards });
    const { caches, backend, cache, other, host, of } = nodes;
    const held = hold(backend, method as 'copyKvCache');
    const used = use(nodes, cache, other, host).catch((error: unknown) => error);
    await held.hasEntered(1);
    const ended = caches[ending](cache);
    await turn();
    expect(of('unregisterKvCache', 'free')).toEqual([]);
    held.open();
    await Promise.all([used, ended]);
    expect(of('unregisterKvCache', 'free').slice(0, 1)).toEqual(['unregisterKvCache']);
    expect(of('free')).toHaveLength(ending === 'deallocateCache' ? 4 : 0);
  });

  test('is not waited for by the end of another cache', async () => {
    const nodes = await withCaches();
    const { caches, backend, cache, other, host, of } = nodes;
    const third = await caches.allocateCache(DESC);
    const held = hold(backend, method as 'copyKvCache');
    const used = use(nodes, cache, other, host).catch((error: unknown) => error);
    await held.hasEntered(1);
    await caches.deallocateCache(third);
    expect(of('unregisterKvCache')).toHaveLength(1);
    held.open();
    await used;
  });

  test('is refused from the moment that unregisterCache is called, without a word to the library', async () => {
    const nodes = await withCaches();
    const { caches, backend, cache, other, host, of } = nodes;
    const held = hold(backend, 'unregisterKvCache');
    const ended = caches.unregisterCache(cache);
    const error = await rejection(use(nodes, cache, other, host));
    expect(error).toMatchObject({ code: 'LLM_KV_CACHE_NOT_EXIST', cacheId: cache.cacheId });
    expect(of(method)).toEqual([]);
    held.open();
    await ended;
    expect(await rejection(use(nodes, cache, other, host))).toMatchObject({ code: 'LLM_KV_CACHE_NOT_EXIST' });
  });
});

test('without guards who comes after unregisterCache is not waited for', async () => {
  const nodes = await withCaches({ guards: false });
  const { caches, backend, cache, of } = nodes;
  const held = hold(backend, 'pullKvCache');
  const first = rejection(caches.pullCache(nodes.remote.key(), cache));
  await held.hasEntered(1);
  const ended = caches.unregisterCache(cache);
  const second = rejection(caches.pullCache(nodes.remote.key(), cache));
  await held.hasEntered(2);
  held.letGo();
  expect(await first).toMatchObject({ code: 'LLM_NOT_YET_LINK' });
  await ended;
  expect(of('unregisterKvCache')).toHaveLength(1);
  held.letGo();
  expect(await second).toMatchObject({ code: 'LLM_KV_CACHE_NOT_EXIST' });
});

describe('an unregistration that the library refuses', () => {
  const refusal = new LLMException(LLMStatusCode.LLM_FAILED, { operation: 'unregisterCache' });

  test('leaves the cache as it was', async () => {
    const { dist, caches, backend, remote, cache } = await withCaches();
    const held = hold(backend, 'unregisterKvCache');
    const refused = rejection(caches.deallocateCache(cache));
    await held.hasEntered(1);
    held.fail(refusal);
    expect(await refused).toMatchObject({ code: refusal.code, operation: 'deallocateCache', cacheId: cache.cacheId });
    expect(await rejection(cache.regions![0]!.free())).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    await dist.linkClusters([TO_PROMPT]);
    await caches.pullCache(remote.key(), cache);
    expect(await rowOf(cache, 1, 0)).toEqual(await rowOf(remote, 1, 0));
    await dist.unlinkClusters([TO_PROMPT]);
    held.open();
    await caches.deallocateCache(cache);
  });

  test('is tried again by the next one, even if that was called before it was refused', async () => {
    const { caches, backend, cache } = await withCaches();
    const held = hold(backend, 'unregisterKvCache');
    const refused = rejection(caches.unregisterCache(cache));
    const again = caches.unregisterCache(cache);
    await held.hasEntered(1);
    held.fail(refusal);
    expect(await refused).toMatchObject({ code: refusal.code, operation: 'unregisterCache', cacheId: cache.cacheId });
    await held.hasEntered(2);
    held.letGo();
    await again;
    expect(await rejection(caches.deallocateCache(cache))).toMatchObject({ code: 'LLM_PARAM_INVALID' });
  });
});

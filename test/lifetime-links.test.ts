import { LLMException, LLMRole, LLMStatusCode } from '../lib';
import type { KvCacheManager } from '../lib';
import { Links } from '../lib/links';
import { turn } from './bad-input/states';
import { expectQuietProcess } from './bad-input/quiet-process';
import { blind } from './fixtures/blind';
import { client, TO_OTHER_PROMPT, TO_PROMPT } from './fixtures/client';
import type { Client } from './fixtures/client';
import { bytesOf, DECODER_CLUSTER, DESC, linkedPair, pair, PROMPT_CLUSTER, rejection } from './fixtures/cluster';
import { hold } from './fixtures/held-calls';
import { warningTextsDuring } from './fixtures/warnings';

expectQuietProcess();

const ONE = { ...DESC, numTensors: 1 };
const TENSOR_BYTES = 256;

describe('unregistering', () => {
  /** A registered cache in a region of its own. */
  async function registered(nodes: Client) {
    const region = await nodes.decoder.dist.allocateMemory(TENSOR_BYTES);
    const cache = await nodes.caches.registerCache(ONE, [region.address]);
    return { region, cache, again: () => nodes.caches.registerCache(ONE, [region.address]) };
  }

  const unregistrations = ({ of }: Client) => of('unregisterKvCache').length;

  test('reaches the library at once where no link can be left', async () => {
    const nodes = await client();
    const { cache, again } = await registered(nodes);
    await nodes.caches.unregisterCache(cache);
    expect(unregistrations(nodes)).toBe(1);
    await again();
  });

  test('reaches the library when the links are gone that were made while the cache was registered', async () => {
    const nodes = await client();
    const { caches, decoder, remote } = nodes;
    const { dist } = decoder;
    const { cache, again } = await registered(nodes);
    await dist.linkClusters([TO_PROMPT]);
    await dist.linkClusters([TO_OTHER_PROMPT]);
    await caches.unregisterCache(cache);
    await caches.unregisterCache(cache);
    expect(await rejection(caches.pullCache(remote.key(), cache))).toMatchObject({ code: 'LLM_KV_CACHE_NOT_EXIST' });
    const waits = await rejection(again());
    expect(waits).toMatchObject({
      code: 'LLM_PARAM_INVALID',
      remedy: expect.stringContaining('memory-overlap') as string,
    });
    expect(String(waits)).toMatch(/cache 1, whose unregistration waits .*: .*, unlink cluster 1, cluster 3\./);
    await dist.unlinkClusters([TO_OTHER_PROMPT]);
    expect(unregistrations(nodes)).toBe(0);
    expect(String(await rejection(again()))).toMatch(/: .*, unlink cluster 1\./);
    await dist.unlinkClusters([TO_PROMPT]);
    expect(unregistrations(nodes)).toBe(1);
    await again();
  });

  test('is not held up by links that were made before the cache was registered', async () => {
    const nodes = await client();
    const { caches, decoder } = nodes;
    await decoder.dist.linkClusters([TO_PROMPT]);
    const { cache } = await registered(nodes);
    await caches.unregisterCache(cache);
    expect(unregistrations(nodes)).toBe(1);
  });

  test('waits also for links that are made while it waits: the library has the memory as long', async () => {
    const nodes = await client();
    const { caches, decoder } = nodes;
    const { cache, again } = await registered(nodes);
    await decoder.dist.linkClusters([TO_PROMPT]);
    await caches.unregisterCache(cache);
    await decoder.dist.linkClusters([TO_OTHER_PROMPT]);
    expect(String(await rejection(again()))).toMatch(/: .*, unlink cluster 1, cluster 3\./);
    await decoder.dist.unlinkClusters([TO_PROMPT]);
    expect(unregistrations(nodes)).toBe(0);
    expect(String(await rejection(again()))).toMatch(/: .*, unlink cluster 3\./);
    await decoder.dist.unlinkClusters([TO_OTHER_PROMPT]);
    expect(unregistrations(nodes)).toBe(1);
    await again();
  });

  test('waits for a link that exists already as for one that was made', async () => {
    const nodes = await client();
    const { decoder, caches } = nodes;
    // Under another id, which unlinking does not reach.
    await decoder.dist.linkClusters([{ ...TO_PROMPT, remoteClusterId: 77n }]);
    await decoder.dist.unlinkClusters([{ ...TO_PROMPT, remoteClusterId: 77n }], { force: true });
    const { cache } = await registered(nodes);
    const error = await rejection(decoder.dist.linkClusters([TO_PROMPT]));
    expect(error).toMatchObject({ code: 'LLM_ALREADY_LINK' });
    await caches.unregisterCache(cache);
    expect(unregistrations(nodes)).toBe(0);
    await decoder.dist.unlinkClusters([TO_PROMPT]);
    expect(unregistrations(nodes)).toBe(1);
  });

  test.each([
    ['LLM_LINK_FAILED', 'at once', 1],
    ['LLM_PARAM_INVALID', 'at once', 1],
    // Its own end may stand when the library hears that the other one does not.
    ['LLM_TIMEOUT', 'when that is unlinked', 0],
    ['LLM_FAILED', 'when that is unlinked', 0],
  ] as const)('after a link that failed with %s reaches the library %s', async (code, _, times) => {
    const nodes = await client();
    const { cache } = await registered(nodes);
    const held = hold(nodes.backend, 'linkLlmClusters');
    const failed = rejection(nodes.decoder.dist.linkClusters([TO_PROMPT]));
    held.fail(new LLMException(LLMStatusCode[code], { operation: 'linkClusters' }));
    await failed;
    await nodes.caches.unregisterCache(cache);
    expect(unregistrations(nodes)).toBe(times);
    await nodes.decoder.dist.unlinkClusters([TO_PROMPT], { force: true });
    expect(unregistrations(nodes)).toBe(1);
  });

  test('after a link that failed in a way that no backend may waits for an unlink', async () => {
    const nodes = await client();
    const { cache } = await registered(nodes);
    const held = hold(nodes.backend, 'linkLlmClusters');
    const failed = rejection(nodes.decoder.dist.linkClusters([TO_PROMPT]));
    held.fail(new Error('broken'));
    await failed;
    await nodes.caches.unregisterCache(cache);
    expect(unregistrations(nodes)).toBe(0);
  });

  test('goes by the result of each cluster', async () => {
    const nodes = await client();
    const { decoder, caches } = nodes;
    const { cache } = await registered(nodes);
    const nobody = { ...TO_OTHER_PROMPT, remoteClusterId: 9n, remoteIpInfos: [{ ip: '127.0.0.1', port: 1 }] };
    await rejection(decoder.dist.linkClusters([TO_PROMPT, nobody, TO_OTHER_PROMPT]));
    await caches.unregisterCache(cache);
    const unlinked = [{ ...TO_PROMPT, remoteIpInfos: nobody.remoteIpInfos }, TO_OTHER_PROMPT];
    expect(await rejection(decoder.dist.unlinkClusters(unlinked))).toMatchObject({ code: 'LLM_UNLINK_FAILED' });
    expect(unregistrations(nodes)).toBe(0);
    await decoder.dist.unlinkClusters([TO_PROMPT]);
    expect(unregistrations(nodes)).toBe(1);
  });

  test('and linking run one after the other', async () => {
    const nodes = await client();
    const { caches, backend, decoder, calls } = nodes;
    const first = await registered(nodes);
    const second = await registered(nodes);
    calls.length = 0;
    const links = hold(backend, 'linkLlmClusters');
    const unregisters = hold(backend, 'unregisterKvCache');
    const all = [caches.unregisterCache(first.cache), decoder.dist.linkClusters([TO_PROMPT])];
    await turn();
    expect(links.entered).toBe(0);
    unregisters.letGo();
    await links.hasEntered(1);
    all.push(caches.unregisterCache(second.cache), decoder.dist.unlinkClusters([TO_PROMPT], { force: true }));
    await turn();
    links.open();
    await unregisters.hasEntered(2);
    expect(calls).toEqual(['unregisterKvCache', 'linkLlmClusters', 'unlinkLlmClusters']);
    unregisters.open();
    await Promise.all(all);
    expect(calls.at(-1)).toBe('unregisterKvCache');
  });

  test('of a cache that waits for links reaches the library no more when it is finalized first', async () => {
    const nodes = await client();
    const { caches, decoder } = nodes;
    const { cache, region } = await registered(nodes);
    await decoder.dist.linkClusters([TO_PROMPT]);
    await caches.unregisterCache(cache);
    await region.free();
    expect(await warningTextsDuring(() => decoder.dist.finalize())).toEqual([]);
    expect(unregistrations(nodes)).toBe(0);
    await decoder.dist.init({ deviceId: 0 });
    // It is as unknown now as any.
    await caches.unregisterCache(1n);
    expect(unregistrations(nodes)).toBe(1);
    const fresh = await registered(nodes);
    expect(fresh.cache.cacheId).toBe(1n);
    await caches.unregisterCache(fresh.cache);
    expect(unregistrations(nodes)).toBe(2);
  });

  test('is not held up by links of an earlier life', async () => {
    const nodes = await client();
    const { dist } = nodes.decoder;
    await dist.linkClusters([TO_PROMPT]);
    await dist.finalize();
    await dist.init({ deviceId: 0 });
    const { cache } = await registered(nodes);
    await nodes.caches.unregisterCache(cache);
    expect(unregistrations(nodes)).toBe(1);
  });

  test('takes its place in the table until the library has heard of it', async () => {
    const nodes = await client();
    const { caches, decoder } = nodes;
    const region = await decoder.dist.allocateMemory(140_000);
    const at = (start: number, count: number) =>
      BigUint64Array.from({ length: count }, (_, i) => region.address + BigInt(start + i));
    const desc = { dataType: 2, shape: [1] };
    const large = await caches.registerCache({ ...desc, numTensors: 131_000 }, at(0, 131_000));
    await decoder.dist.linkClusters([TO_PROMPT]);
    await caches.unregisterCache(large);
    const error = await rejection(caches.registerCache({ ...desc, numTensors: 1000 }, at(131_000, 1000)));
    expect(String(error)).toContain('1 caches in it are unregistered, but wait for links to be gone');
    await decoder.dist.unlinkClusters([TO_PROMPT]);
    await caches.registerCache({ ...desc, numTensors: 1000 }, at(131_000, 1000));
  });

  test('that fails when the links are gone is told by a warning, and nobody gets the memory', async () => {
    const nodes = await client();
    const { caches, decoder, backend } = nodes;
    const { cache, region, again } = await registered(nodes);
    await decoder.dist.linkClusters([TO_PROMPT]);
    await caches.unregisterCache(cache);
    await region.free();
    const held = hold(backend, 'unregisterKvCache');
    const texts = await warningTextsDuring(async () => {
      const unlinked = decoder.dist.unlinkClusters([TO_PROMPT]);
      await held.hasEntered(1);
      held.fail(new LLMException(LLMStatusCode.LLM_FAILED, { operation: 'unregisterCache', message: 'still bound' }));
      await unlinked;
    });
    expect(texts).toEqual([expect.stringMatching(/^LLMDataDistMemoryWarning: cache 1 of cluster 2 .*still bound/s)]);
    held.open();
    expect(nodes.of('free')).toEqual([]);
    const other = await nodes.caches.registerCache(ONE, [(await decoder.dist.allocateMemory(256)).address]);
    await caches.unregisterCache(other);
    // The library may still have it, so that it is not asked again.
    await caches.unregisterCache(cache.cacheId);
    expect(held.entered).toBe(2);
    expect(await rejection(again())).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    expect(await warningTextsDuring(() => decoder.dist.finalize())).toEqual([
      expect.stringMatching(/freed 1 memory regions of 256 bytes/),
    ]);
    expect(nodes.of('free')).toHaveLength(2);
  });

  test('of memory that was not freed and could not be unregistered says so when it is registered again', async () => {
    const nodes = await client();
    const { caches, decoder, backend } = nodes;
    const { cache, again } = await registered(nodes);
    await decoder.dist.linkClusters([TO_PROMPT]);
    await caches.unregisterCache(cache);
    const held = hold(backend, 'unregisterKvCache');
    await warningTextsDuring(async () => {
      const unlinked = decoder.dist.unlinkClusters([TO_PROMPT]);
      await held.hasEntered(1);
      held.fail('no exception at all');
      await unlinked;
    });
    expect(String(await rejection(again()))).toContain('cache 1, whose unregistration failed in the library');
  });
});

describe('unregistering where the instance listens', () => {
  test('waits until a role switch proves that nobody is linked', async () => {
    const { prompt, decoder, promptCache, decoderCache } = await linkedPair();
    const { dist, backend } = prompt;
    const spy = jest.spyOn(backend, 'unregisterKvCache');
    await dist.kvCacheManager.deallocateCache(promptCache);
    // The decoder goes on with memory that is still there.
    await decoder.dist.kvCacheManager.pullCache(promptCache.key(), decoderCache);
    expect((await bytesOf(decoderCache)).subarray(0, 64)).toEqual(
      Buffer.from(Array.from({ length: 64 }, (_, i) => 7 + i)),
    );
    expect(await rejection(dist.switchRole(LLMRole.MIX))).toMatchObject({ code: 'LLM_EXIST_LINK' });
    expect(spy).not.toHaveBeenCalled();
    await decoder.dist.unlinkClusters([PROMPT_CLUSTER]);
    expect(spy).not.toHaveBeenCalled();
    await dist.switchRole(LLMRole.MIX);
    expect(spy).toHaveBeenCalledTimes(1);
  });

  test('needs no unlink of its own where the peer has unlinked, as a role switch proves', async () => {
    const { prompt, decoder, decoderCache } = await linkedPair();
    const { dist, backend } = decoder;
    blind(backend);
    const spy = jest.spyOn(backend, 'unregisterKvCache');
    await prompt.dist.unlinkClusters([DECODER_CLUSTER]);
    await dist.kvCacheManager.deallocateCache(decoderCache);
    expect(spy).not.toHaveBeenCalled();
    await dist.switchRole(LLMRole.MIX);
    expect(spy).toHaveBeenCalledTimes(1);
  });

  test('does not wait because of the options of a second init, which changes nothing', async () => {
    const nodes = await client();
    await nodes.decoder.dist.init({ deviceId: 0, listenIpInfo: '127.0.0.1:26009' });
    await nodes.caches.deallocateCache(await nodes.caches.allocateCache(DESC));
    expect(nodes.of('unregisterKvCache')).toHaveLength(1);
  });

  test('waits as long when it does not listen from init, but from a role switch', async () => {
    const nodes = await client();
    blind(nodes.backend);
    const cache = await nodes.caches.allocateCache(DESC);
    await nodes.decoder.dist.switchRole(LLMRole.MIX, { listenIpInfo: '127.0.0.1:26009' });
    await nodes.caches.deallocateCache(cache);
    expect(nodes.of('unregisterKvCache', 'free')).toEqual([]);
    // Another listener proves nothing: a peer may have linked to it by now.
    await nodes.decoder.dist.switchRole(LLMRole.MIX, { listenIpInfo: '127.0.0.1:26010' });
    expect(nodes.of('unregisterKvCache', 'free')).toEqual([]);
    await nodes.decoder.dist.switchRole(LLMRole.MIX);
    expect(nodes.of('unregisterKvCache', 'free')).toEqual(['unregisterKvCache', ...Array<string>(4).fill('free')]);
    await nodes.caches.deallocateCache(await nodes.caches.allocateCache(DESC));
    expect(nodes.of('unregisterKvCache')).toHaveLength(2);
  });

  test('says what to do', async () => {
    const { decoder, decoderCache } = await linkedPair();
    const { kvCacheManager: caches } = decoder.dist;
    await caches.unregisterCache(decoderCache);
    const refused = async () => String(await rejection(caches.registerCache(DESC, decoderCache.tensorAddrs)));
    expect(await refused()).toMatch(
      /: once for all calls, when the transfers have ended, unlink cluster 1, then have the peers unlink this cluster, .*register or unregister/,
    );
    blind(decoder.backend);
    expect(await refused()).toMatch(/unlink cluster 1, then stop listening with switchRole\(\)/);
  });

  test('of hixl waits for finalize, because a role switch proves nothing there', async () => {
    const { prompt } = await pair();
    await prompt.dist.finalize();
    const { dist, backend } = prompt;
    blind(backend);
    await dist.init({ deviceId: 0, listenIpInfo: '127.0.0.1:26000', transferBackend: 'hixl' });
    const spy = jest.spyOn(backend, 'unregisterKvCache');
    const region = await dist.allocateMemory(TENSOR_BYTES);
    const cache = await dist.kvCacheManager.registerCache(ONE, [region.address]);
    await dist.kvCacheManager.unregisterCache(cache);
    await dist.switchRole(LLMRole.MIX);
    expect(spy).not.toHaveBeenCalled();
    expect(String(await rejection(dist.kvCacheManager.registerCache(ONE, [region.address])))).toContain(
      'call finalize()',
    );
    await region.free();
    expect(await warningTextsDuring(() => dist.finalize())).toEqual([]);
  });

  test('does not wait where no peer is linked, and so goes on for ever', async () => {
    const { prompt } = await pair();
    const { kvCacheManager: caches } = prompt.dist;
    const numTensors = 60_000;
    const region = await prompt.dist.allocateMemory(TENSOR_BYTES * numTensors);
    const addrs = BigUint64Array.from({ length: numTensors }, (_, i) => region.address + BigInt(i * TENSOR_BYTES));
    // Two of these fill the table.
    for (let i = 0; i < 5; i++) await caches.unregisterCache(await caches.registerCache({ ...ONE, numTensors }, addrs));
    await region.free();
    expect(await warningTextsDuring(() => prompt.dist.finalize())).toEqual([]);
  }, 300_000);

  test('ends its wait when a peer has unlinked and room is needed', async () => {
    const { prompt, decoder, promptCache } = await linkedPair();
    const { kvCacheManager: caches } = prompt.dist;
    const { tensorAddrs } = promptCache;
    await caches.unregisterCache(promptCache);
    const again = () => caches.registerCache(DESC, tensorAddrs);
    expect(await rejection(again())).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    await decoder.dist.unlinkClusters([PROMPT_CLUSTER]);
    await caches.unregisterCache(await again());
  });

  test('ends its wait with the next cache that is unregistered without a link', async () => {
    const { prompt, decoder, promptCache } = await linkedPair();
    const { kvCacheManager: caches } = prompt.dist;
    const other = await caches.allocateCache(DESC);
    await caches.deallocateCache(promptCache);
    const free = jest.spyOn(prompt.backend, 'free');
    await decoder.dist.unlinkClusters([PROMPT_CLUSTER]);
    expect(free).not.toHaveBeenCalled();
    await caches.deallocateCache(other);
    expect(free).toHaveBeenCalledTimes(8);
  });

  test('warns when a hundred wait, and when a thousand do, and the advice works', async () => {
    const { prompt, decoder } = await linkedPair();
    const { kvCacheManager: caches } = prompt.dist;
    const cycles = async (count: number) => {
      for (let i = 0; i < count; i++) await caches.deallocateCache(await caches.allocateCache(ONE));
    };
    expect(await warningTextsDuring(() => cycles(99))).toEqual([]);
    expect(await warningTextsDuring(() => cycles(200))).toEqual([
      expect.stringMatching(
        /^LLMDataDistMemoryWarning: 100 caches of cluster 1 are unregistered.*have the peers unlink this cluster.*, then register or unregister a cache/,
      ),
    ]);
    expect(await warningTextsDuring(() => cycles(701))).toEqual([
      expect.stringMatching(/^LLMDataDistMemoryWarning: 1000 caches of cluster 1/),
    ]);
    await decoder.dist.unlinkClusters([PROMPT_CLUSTER]);
    const unregister = jest.spyOn(prompt.backend, 'free');
    await cycles(1);
    expect(unregister).toHaveBeenCalledTimes(1001);
    await decoder.dist.linkClusters([PROMPT_CLUSTER]);
    expect(await warningTextsDuring(() => cycles(100))).toHaveLength(1);
  }, 300_000);

  test('a full table that waits for links names them, and has room when they are gone', async () => {
    const { prompt, decoder } = await linkedPair();
    const { kvCacheManager: caches } = prompt.dist;
    const large = { ...ONE, numTensors: 100_000 };
    const region = await prompt.dist.allocateMemory(TENSOR_BYTES * 100_000);
    const addrs = BigUint64Array.from({ length: 100_000 }, (_, i) => region.address + BigInt(i * TENSOR_BYTES));
    await caches.unregisterCache(await caches.registerCache(large, addrs));
    const other = await prompt.dist.allocateMemory(TENSOR_BYTES * 100_000);
    const others = addrs.map((address) => address - region.address + other.address);
    expect(String(await rejection(caches.registerCache(large, others)))).toMatch(
      /1 caches in it are unregistered, but wait for links to be gone\..*: once for all calls, when the transfers have ended, have the peers unlink this cluster.*Rule cache-table/,
    );
    expect(String(await rejection(caches.allocateCache(large)))).toContain('Rule cache-table');
    await decoder.dist.unlinkClusters([PROMPT_CLUSTER]);
    await caches.unregisterCache(await caches.registerCache(large, others));
    for (const each of [region, other]) await each.free();
  }, 300_000);

  test('is not lost where the backend cannot say whether peers are linked: the caches wait', async () => {
    const { prompt } = await pair();
    const { kvCacheManager: caches } = prompt.dist;
    const cache = await caches.allocateCache(ONE);
    const problem = new LLMException(LLMStatusCode.LLM_FAILED, {
      operation: 'unregisterCache',
      message: 'asked in vain',
    });
    const ask = jest.fn(() => Promise.reject(problem));
    Object.defineProperty(prompt.backend, 'unregisterUnlinked', { value: ask, configurable: true });
    expect(await warningTextsDuring(() => caches.deallocateCache(cache))).toEqual([
      expect.stringMatching(/^LLMDataDistMemoryWarning: it is not known whether cluster 1 is linked.*asked in vain/s),
    ]);
    expect(ask).toHaveBeenCalledTimes(1);
    Object.defineProperty(prompt.backend, 'unregisterUnlinked', {
      value: (ids: BigInt64Array) => Promise.resolve(Array.from(ids, () => LLMStatusCode.LLM_FAILED)),
    });
    const other = await caches.allocateCache(ONE);
    expect(await warningTextsDuring(() => caches.deallocateCache(other))).toEqual([
      expect.stringMatching(/^LLMDataDistMemoryWarning: cache 2 of cluster 1 could not be unregistered .*LLM_FAILED/s),
      expect.stringMatching(/^LLMDataDistMemoryWarning: cache 1 of cluster 1 could not be unregistered/),
    ]);
  });

  test('without guards reaches the library at once', async () => {
    const { decoder, decoderCache } = await linkedPair({ guards: false });
    const spy = jest.spyOn(decoder.backend, 'unregisterKvCache');
    const caches: KvCacheManager = decoder.dist.kvCacheManager;
    await caches.unregisterCache(decoderCache);
    expect(spy).toHaveBeenCalledTimes(1);
    await caches.registerCache(DESC, decoderCache.tensorAddrs);
  });
});

describe('links', () => {
  const cluster = { remoteClusterId: 1n, remoteRoleType: 0, remoteIpInfos: [], localIpInfos: [] };

  test('that have all gone hold nothing, and later ones nothing that was registered after them', () => {
    const links = new Links();
    expect(links.mayHold(0)).toBe(false);
    links.link([cluster], [0]);
    expect(links.mayHold(0)).toBe(true);
    links.noneLeft();
    expect(links.mayHold(0)).toBe(false);
    links.link([cluster], [0]);
    expect([links.mayHold(0), links.mayHold(links.made)]).toEqual([true, false]);
  });

  test('of peers may be left as long as the instance listens', () => {
    const links = new Links();
    links.start({ 'llm.ListenIpInfo': '127.0.0.1:26000' });
    expect(links.mayHold(links.made)).toBe(true);
    links.noneLeft();
    expect(links.mayHold(0)).toBe(false);
  });

  test('that may have been made several times under one id hold what any of them holds', () => {
    const links = new Links();
    links.link([cluster], [0]);
    const between = links.made;
    links.link([cluster], [0]);
    expect([links.mayHold(0), links.mayHold(between)]).toEqual([true, true]);
    links.unlink([cluster], [0]);
    expect([links.mayHold(0), links.mayHold(between)]).toEqual([false, false]);
  });
});

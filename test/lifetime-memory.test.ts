import { LLMException, LLMRole, LLMStatusCode } from '../lib';
import type { MemoryRegion } from '../lib';
import { AllocatedRegion } from '../lib/memory';
import { turn } from './bad-input/states';
import { expectQuietProcess } from './bad-input/quiet-process';
import { client, TO_PROMPT } from './fixtures/client';
import { bytesOf, DESC, linkedPair, PROMPT_CLUSTER, rejection } from './fixtures/cluster';
import { hold } from './fixtures/held-calls';
import { warningsDuring, warningTextsDuring } from './fixtures/warnings';

expectQuietProcess();

const ONE = { ...DESC, numTensors: 1 };
const FAILURE = new LLMException(LLMStatusCode.LLM_FAILED, { operation: 'registerCache', message: 'still mapped' });

/** A client with a region in which two caches have room. */
async function withRegion(options: { guards?: boolean } = {}) {
  const nodes = await client(options);
  const region = await nodes.decoder.dist.allocateMemory(512);
  const first = () => nodes.caches.registerCache(ONE, [region.address]);
  const second = () => nodes.caches.registerCache(ONE, [region.address + 256n]);
  return { ...nodes, dist: nodes.decoder.dist, region, first, second };
}

const frees: [string, (region: MemoryRegion) => PromiseLike<void>][] = [
  ['free', (region) => region.free()],
  ['the end of its block', (region) => region[Symbol.asyncDispose]()],
];

afterEach(() => {
  jest.restoreAllMocks();
});

describe.each(frees)('%s', (_, free) => {
  test('is refused while a cache is registered in the region, and names it', async () => {
    const { region, first, second, caches, of } = await withRegion();
    const [a, b] = [await first(), await second()];
    await caches.unregisterCache(a);
    const error = (await rejection(free(region) as Promise<void>)) as LLMException;
    expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID', operation: 'free', cacheId: b.cacheId });
    expect(error.message).toMatch(/holds memory of cache 2\..*unregister first/s);
    expect(of('free')).toEqual([]);
    expect(await region.read()).toHaveLength(512);
    await caches.unregisterCache(b);
    await free(region);
    expect(of('free')).toEqual(['free']);
  });

  test('takes effect when the links are gone that hold the region, and for the caller at once', async () => {
    const { dist, region, first, second, caches, of } = await withRegion();
    const [a, b] = [await first(), await second()];
    await dist.linkClusters([TO_PROMPT]);
    await caches.unregisterCache(a);
    await caches.unregisterCache(b);
    await free(region);
    expect(of('free')).toEqual([]);
    for (const use of [() => region.read(), () => region.write(new Uint8Array(1)), () => region.free()]) {
      expect(await rejection(use())).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    }
    await region[Symbol.asyncDispose]();
    await dist.unlinkClusters([TO_PROMPT]);
    expect(of('unregisterKvCache', 'free')).toEqual(['unregisterKvCache', 'unregisterKvCache', 'free']);
    expect(await warningsDuring(() => dist.finalize())).toEqual([]);
  });

  test('frees at once with guards off', async () => {
    const { dist, region, first, of } = await withRegion({ guards: false });
    await first();
    await dist.linkClusters([TO_PROMPT]);
    await free(region);
    expect(of('free')).toEqual(['free']);
  });
});

test('free that comes while the cache is being unregistered takes effect after that', async () => {
  const { region, first, caches, backend, of } = await withRegion();
  const cache = await first();
  const held = hold(backend, 'unregisterKvCache');
  const ended = caches.unregisterCache(cache);
  await region.free();
  expect(of('free')).toEqual([]);
  held.open();
  await ended;
  expect(of('free')).toEqual(['free']);
});

test('memory of a cache that is deallocated while linked is freed with the link', async () => {
  const { decoder, decoderCache, promptCache } = await linkedPair();
  const { dist, backend } = decoder;
  const free = jest.spyOn(backend, 'free');
  await dist.kvCacheManager.pullCache(promptCache.key(), decoderCache);
  const bytes = await bytesOf(decoderCache);
  await dist.kvCacheManager.deallocateCache(decoderCache);
  expect(free).not.toHaveBeenCalled();
  expect(Buffer.from(await backend.read(decoderCache.tensorAddrs[0]!, 256))).toEqual(bytes.subarray(0, 256));
  await dist.unlinkClusters([PROMPT_CLUSTER]);
  await dist.switchRole(LLMRole.MIX);
  expect(free).toHaveBeenCalledTimes(4);
});

test('of the regions that links hold only those of the cache are looked at that is unregistered', async () => {
  const { dist, caches } = await withRegion();
  const old = await Promise.all(Array.from({ length: 8 }, () => caches.allocateCache(DESC)));
  await dist.linkClusters([TO_PROMPT]);
  for (const cache of old) await caches.deallocateCache(cache);
  const looks = jest.spyOn(AllocatedRegion.prototype, 'releaseHeld');
  // It is younger than the link, so that nothing holds it.
  await caches.deallocateCache(await caches.allocateCache(DESC));
  expect(looks.mock.contexts.length).toBeLessThanOrEqual(DESC.numTensors);
  looks.mockClear();
  await dist.unlinkClusters([TO_PROMPT]);
  expect(new Set(looks.mock.contexts)).toEqual(new Set(old.flatMap(({ regions }) => regions)));
  expect(looks).toHaveBeenCalledTimes(8 * DESC.numTensors);
});

test('a cache that begins to wait looks at no region of those that wait already', async () => {
  const { prompt } = await linkedPair();
  const { kvCacheManager } = prompt.dist;
  const looks = jest.spyOn(AllocatedRegion.prototype, 'releaseHeld');
  for (let i = 0; i < 8; i++) await kvCacheManager.deallocateCache(await kvCacheManager.allocateCache(DESC));
  expect(looks).not.toHaveBeenCalled();
});

test('finalize frees what links have held, and warns of what the caller has not freed only', async () => {
  const { dist, region, first, caches, of } = await withRegion();
  const kept = await dist.allocateMemory(64);
  const cache = await first();
  await dist.linkClusters([TO_PROMPT]);
  await caches.unregisterCache(cache);
  await region.free();
  expect(await warningTextsDuring(() => dist.finalize())).toEqual([
    expect.stringMatching(/^LLMDataDistMemoryWarning: finalize\(\) of cluster 2 freed 1 memory regions of 64 bytes/),
  ]);
  expect(of('finalize', 'free')).toEqual(['finalize', 'free', 'free']);
  expect(await rejection(kept.read())).toMatchObject({ code: 'LLM_PARAM_INVALID' });
});

test('memory that cannot be freed when its links are gone is told by a warning, and the unlink succeeds', async () => {
  const { dist, region, first, caches, backend } = await withRegion();
  const cache = await first();
  await dist.linkClusters([TO_PROMPT]);
  await caches.unregisterCache(cache);
  await region.free();
  const held = hold(backend, 'free');
  const texts = await warningTextsDuring(async () => {
    const unlinked = dist.unlinkClusters([TO_PROMPT]);
    await held.hasEntered(1);
    held.fail(FAILURE);
    await unlinked;
  });
  expect(texts).toEqual([
    expect.stringMatching(/^LLMDataDistMemoryWarning: 512 bytes at 0x.* of cluster 2 .*still mapped/s),
  ]);
});

describe('a region that a registration is on the way to', () => {
  test('is not freed under it', async () => {
    const { region, first, backend } = await withRegion();
    const held = hold(backend, 'registerKvCache');
    const registered = first();
    await held.hasEntered(1);
    const error = (await rejection(region.free())) as LLMException;
    expect(error.message).toContain('a cache that is being registered');
    held.open();
    await registered;
  });

  test('and that was freed before its turn refuses it, whoever has the addresses by then', async () => {
    const { dist, region, first, backend, of } = await withRegion();
    const held = hold(backend, 'linkLlmClusters');
    const linked = dist.linkClusters([TO_PROMPT]);
    const refused = rejection(first());
    await region.free();
    held.open();
    await linked;
    expect(await refused).toMatchObject({
      code: 'LLM_PARAM_INVALID',
      remedy: expect.stringMatching(/tensor-memory/) as string,
    });
    expect(of('registerKvCache')).toEqual([]);
  });
});

describe('a registration that the library fails', () => {
  async function failed(error: unknown, options: { guards?: boolean } = {}) {
    const nodes = await withRegion(options);
    const held = hold(nodes.backend, 'registerKvCache');
    const refused = rejection(nodes.first());
    await held.hasEntered(1);
    held.fail(error);
    expect(await refused).toBe(error);
    held.open();
    return { ...nodes, held };
  }

  test('keeps its regions and its addresses until finalize, because the transport may have some of them', async () => {
    const { dist, region, first, second, caches, of, held } = await failed(FAILURE);
    const again = await rejection(first());
    expect(again).toMatchObject({
      code: 'LLM_PARAM_INVALID',
      remedy: expect.stringContaining('memory-overlap') as string,
    });
    expect(String(again)).toContain(
      'belong to a registration that failed in the library: it may hold them until finalize()',
    );
    expect(held.entered).toBe(1);
    // The rest of the region is as good as any.
    await caches.unregisterCache(await second());
    await region.free();
    expect(await rejection(region.read())).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    await dist.switchRole(LLMRole.MIX);
    expect(of('free')).toEqual([]);
    expect(await warningsDuring(() => dist.finalize())).toEqual([]);
    expect(of('finalize', 'free')).toEqual(['finalize', 'free']);
    await dist.init({ deviceId: 0 });
    const next = await dist.allocateMemory(256);
    await caches.registerCache(ONE, [next.address]);
  });

  test('with LLM_PARAM_INVALID leaves nothing behind', async () => {
    const { region, first, caches, of } = await failed(
      new LLMException(LLMStatusCode.LLM_PARAM_INVALID, { operation: 'registerCache' }),
    );
    await caches.unregisterCache(await first());
    await region.free();
    expect(of('free')).toEqual(['free']);
  });

  test('without guards leaves it to the caller', async () => {
    const { region, first, of } = await failed(FAILURE, { guards: false });
    await first();
    await region.free();
    expect(of('free')).toEqual(['free']);
  });

  test('takes no place in the table', async () => {
    const { dist, caches } = await failed(FAILURE);
    const region = await dist.allocateMemory(140_000);
    const addrs = BigUint64Array.from({ length: 131_061 }, (_, i) => region.address + BigInt(i));
    await caches.registerCache({ numTensors: 131_061, dataType: 2, shape: [1] }, addrs);
  });

  test('in allocateCache frees its regions at finalize, without a warning', async () => {
    const { decoder, backend, caches, of } = await client();
    const held = hold(backend, 'registerKvCache');
    const refused = rejection(caches.allocateCache(DESC));
    await held.hasEntered(1);
    held.fail(FAILURE);
    expect(await refused).toMatchObject({ operation: 'allocateCache', statusCode: FAILURE.statusCode });
    expect(of('malloc', 'free')).toEqual(Array(4).fill('malloc'));
    expect(await warningsDuring(() => decoder.dist.finalize())).toEqual([]);
    expect(of('free')).toHaveLength(4);
  });
});

describe.each([true, false])('with guards: %s', (guards) => {
  test.each(['write', 'read'] as const)('free waits for a %s of the region, and others do not', async (method) => {
    const { dist, region, backend, of } = await withRegion({ guards });
    const other = await dist.allocateMemory(64);
    const held = hold(backend, method);
    const copied = method === 'write' ? region.write(Uint8Array.of(1, 2)) : region.read();
    await held.hasEntered(1);
    const freed = region.free();
    expect(await rejection(region.free())).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    await other.free();
    await turn();
    expect(of('free')).toEqual(['free']);
    held.open();
    await Promise.all([copied, freed]);
    expect(of('free')).toEqual(['free', 'free']);
  });

  test('deallocateCache waits for copies of its regions', async () => {
    const { caches, backend, of } = await client({ guards });
    const cache = await caches.allocateCache(DESC);
    const held = hold(backend, 'read');
    const copied = cache.regions![2]!.read();
    await held.hasEntered(1);
    const ended = caches.deallocateCache(cache);
    await turn();
    expect(of('free')).toEqual(['free', 'free']);
    held.open();
    await Promise.all([copied, ended]);
    expect(of('free')).toHaveLength(4);
  });
});

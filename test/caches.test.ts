import { cacheKeyFromJSON, DataType, LLMDataDist, LLMRole, LLMStatusCode, LLMException, Placement } from '../lib';
import type { Backend, CacheDesc, KvCache } from '../lib';
import { Fabric, MockBackend } from '../lib/testing';
import { bytesOf, DESC, fill, linkedPair, pair, rejection, rowOf, track } from './fixtures/cluster';
import { warningsDuring } from './fixtures/warnings';

const HOST_DESC: CacheDesc = { ...DESC, placement: Placement.HOST };

async function single(backend?: Backend) {
  const mock = new MockBackend(1n, LLMRole.PROMPT, { fabric: new Fabric() });
  const dist = track(new LLMDataDist(LLMRole.PROMPT, 1n, { backend: backend ?? mock }));
  await dist.init({ deviceId: 0 });
  return { dist, caches: dist.kvCacheManager };
}

describe('allocating', () => {
  test('gives one region per tensor, registered under its address', async () => {
    const { caches } = await single();
    const cache = await caches.allocateCache(DESC);
    expect(cache.cacheId).toBe(1n);
    expect(cache.regions?.map(({ byteLength, placement }) => [byteLength, placement])).toEqual(
      Array(4).fill([256n, Placement.DEVICE]),
    );
    expect([...cache.tensorAddrs]).toEqual(cache.regions?.map(({ address }) => address));
    expect(await bytesOf(cache)).toEqual(Buffer.alloc(1024));
    await caches.deallocateCache(cache);
  });

  test('in host memory gives host memory', async () => {
    const { caches } = await single();
    const cache = await caches.allocateCache(HOST_DESC);
    expect(cache.regions?.[0]?.placement).toBe(Placement.HOST);
    expect(cache.desc.placement).toBe(Placement.HOST);
  });

  test.each<[string, CacheDesc]>([
    ['no tensors', { ...DESC, numTensors: 0 }],
    ['no shape', { ...DESC, shape: [] }],
    ['a dimension of 0', { ...DESC, shape: [4, 0] }],
    ['a type without a size', { ...DESC, dataType: DataType.DT_UNDEFINED }],
  ])('refuses %s and allocates nothing', async (_, desc) => {
    const { caches } = await single();
    expect(await rejection(caches.allocateCache(desc))).toMatchObject({
      code: 'LLM_PARAM_INVALID',
      operation: 'allocateCache',
    });
    expect((await caches.allocateCache(DESC)).cacheId).toBe(1n);
  });

  test('frees what it had when memory runs out, or registering fails', async () => {
    const { dist, caches } = await single();
    const huge = { ...DESC, shape: [1024, 2 ** 43] };
    expect(await rejection(caches.allocateCache(huge))).toMatchObject({ code: 'LLM_DEVICE_OUT_OF_MEMORY' });
    expect(await rejection(caches.allocateCache({ ...huge, placement: Placement.HOST }))).toMatchObject({
      code: 'LLM_OUT_OF_MEMORY',
    });
    const deep = { ...DESC, shape: Array<number>(32).fill(1) };
    expect(await rejection(caches.allocateCache(deep))).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    // Nothing is left that finalize would have to free, and to warn of.
    expect(await warningsDuring(() => dist.finalize())).toEqual([]);
  });

  test('deallocating unregisters and frees, once', async () => {
    const { dist, caches } = await single();
    const cache = await caches.allocateCache(DESC);
    await caches.deallocateCache(cache);
    expect(await rejection(cache.regions![0]!.read())).toMatchObject({ code: 'LLM_PARAM_INVALID', operation: 'read' });
    expect(await rejection(caches.deallocateCache(cache))).toMatchObject({ code: 'LLM_PARAM_INVALID', cacheId: 1n });
    expect(await warningsDuring(() => dist.finalize())).toEqual([]);
  });

  test('memory of the caller is not deallocated', async () => {
    const { dist, caches } = await single();
    const region = await dist.allocateMemory(256);
    const cache = await caches.registerCache({ ...DESC, numTensors: 1 }, [region.address]);
    const error = await rejection(caches.deallocateCache(cache));
    expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    expect((error as LLMException).remedy).toContain('unregisterCache()');
    await caches.unregisterCache(cache);
    await region.free();
  });

  test('regions can be freed by hand when their cache is unregistered, and not before', async () => {
    const { dist, caches } = await single();
    const cache = await caches.allocateCache(DESC);
    expect(await rejection(cache.regions![2]!.free())).toMatchObject({ code: 'LLM_PARAM_INVALID', cacheId: 1n });
    await caches.unregisterCache(cache);
    for (const region of cache.regions!) await region.free();
    expect(await rejection(caches.deallocateCache(cache))).toMatchObject({ code: 'LLM_PARAM_INVALID', cacheId: 1n });
    expect(await warningsDuring(() => dist.finalize())).toEqual([]);
  });
});

test('finalize frees what was left, and says what', async () => {
  const { dist, caches } = await single();
  const cache = await caches.allocateCache(DESC);
  await dist.allocateMemory(4096);
  expect(await warningsDuring(() => dist.finalize())).toEqual(['LLMDataDistMemoryWarning']);
  expect(await rejection(cache.regions![0]!.write(new Uint8Array(1)))).toMatchObject({ code: 'LLM_PARAM_INVALID' });
});

test('a region that is disposed of while finalize() is under way is left to it', async () => {
  const { dist } = await single();
  const region = await dist.allocateMemory(4096);
  const warnings = await warningsDuring(async () => {
    const finalized = dist.finalize();
    await region[Symbol.asyncDispose]();
    await finalized;
  });
  expect(warnings).toEqual(['LLMDataDistMemoryWarning']);
  await region[Symbol.asyncDispose]();
  expect(await rejection(region.read())).toMatchObject({ code: 'LLM_PARAM_INVALID' });
});

describe('a cache handle', () => {
  test('gives a key that survives JSON and a structured clone', async () => {
    const { decoder, decoderCache, promptCache } = await linkedPair({ requireLayout: true });
    const key = promptCache.key(2);
    expect(key).toMatchObject({
      clusterId: 1n,
      cacheId: 1n,
      batchIndex: 2,
      layout: { numTensors: 4, rows: 4, rowBytes: 64n },
    });
    const text = JSON.stringify(key);
    for (const copy of [structuredClone(key), cacheKeyFromJSON(text), cacheKeyFromJSON(JSON.parse(text))]) {
      expect({ ...copy }).toEqual({ ...key });
      await decoder.dist.kvCacheManager.pullCache(copy, decoderCache);
      expect(await rowOf(decoderCache, 3, 0)).toEqual(await rowOf(promptCache, 3, 2));
    }
  });

  test('gives a key without a layout where rows have no common size', async () => {
    const { prompt } = await pair({ guards: false });
    const cache = await prompt.dist.kvCacheManager.allocateCache({
      ...DESC,
      dataType: DataType.DT_INT2,
      shape: [4, 15],
    });
    expect(cache.key()).not.toHaveProperty('layout');
    expect(cacheKeyFromJSON(JSON.stringify(cache.key()))).not.toHaveProperty('layout');
  });

  test('cannot be changed from outside', async () => {
    const { caches } = await single();
    const cache = await caches.allocateCache(DESC);
    const addresses = [...cache.tensorAddrs];
    cache.tensorAddrs.fill(0n);
    expect([...cache.tensorAddrs]).toEqual(addresses);
    expect(Object.isFrozen(cache.desc)).toBe(true);
    expect(Object.isFrozen(cache.desc.shape)).toBe(true);
  });

  test.each([
    ['{}', TypeError],
    ['{"clusterId":1,"cacheId":"1"}', TypeError],
    ['{"clusterId":"1","cacheId":"1e3"}', TypeError],
    ['{"clusterId":"-1","cacheId":"1"}', RangeError],
    ['{"clusterId":"1","cacheId":"9223372036854775808"}', RangeError],
    ['{"clusterId":"1","cacheId":"1","batchIndex":-1}', RangeError],
    ['{"clusterId":"1","cacheId":"1","layout":{}}', TypeError],
    ['{"clusterId":"1","cacheId":"1","layout":{"numTensors":-1,"rows":1,"rowBytes":"1"}}', RangeError],
    ['[]', TypeError],
    ['{', SyntaxError],
  ])('a key is not read from %s', (text, error) => {
    expect(() => cacheKeyFromJSON(text)).toThrow(error);
  });
});

describe.each(['with', 'without'])('copying on a backend %s copy of its own', (variant) => {
  async function setUp() {
    const mock = new MockBackend(1n, LLMRole.PROMPT, { fabric: new Fabric() });
    if (variant === 'without') {
      for (const name of ['copy', 'copyRanges']) Object.defineProperty(mock, name, { value: undefined });
    }
    const { dist, caches } = await single(mock);
    const src = await caches.allocateCache(DESC);
    const dst = await caches.allocateCache(DESC);
    await fill(src, 7);
    await fill(dst, 90);
    return { dist, caches, src, dst };
  }

  test('copyCache copies a row in every tensor, whole by default', async () => {
    const { caches, src, dst } = await setUp();
    await caches.copyCache(dst, src);
    await caches.copyCache(dst, src, { srcBatchIndex: 1, dstBatchIndex: 3 });
    for (let t = 0; t < 4; t++) {
      expect(await rowOf(dst, t, 0)).toEqual(await rowOf(src, t, 0));
      expect(await rowOf(dst, t, 3)).toEqual(await rowOf(src, t, 1));
    }
  });

  test('copyCache copies a part of a row', async () => {
    const { caches, src, dst } = await setUp();
    const before = await rowOf(dst, 2, 1);
    await caches.copyCache(dst, src, { srcBatchIndex: 2, dstBatchIndex: 1, offset: 16, size: 8n });
    const expected = Buffer.concat([
      before.subarray(0, 16),
      (await rowOf(src, 2, 2)).subarray(16, 24),
      before.subarray(24),
    ]);
    expect(await rowOf(dst, 2, 1)).toEqual(expected);
  });

  test('copyBlocks copies a block to each of its destinations, in every tensor', async () => {
    const { caches, src } = await setUp();
    const first = await rowOf(src, 1, 0);
    await caches.copyBlocks(src, new Map([[0, [1, 3]]]));
    expect(await rowOf(src, 1, 1)).toEqual(first);
    expect(await rowOf(src, 1, 3)).toEqual(first);
    expect(await rowOf(src, 1, 2)).not.toEqual(first);
  });

  test('swapBlocks copies blocks between host and device memory, both ways', async () => {
    const { caches, src } = await setUp();
    const host = await caches.allocateCache(HOST_DESC);
    await caches.swapBlocks(src, host, new Map([[1, 2]]));
    expect(await rowOf(host, 3, 2)).toEqual(await rowOf(src, 3, 1));
    await caches.swapBlocks(host, src, new Map([[2, 0]]));
    expect(await rowOf(src, 3, 0)).toEqual(await rowOf(src, 3, 1));
  });
});

describe('copying refuses', () => {
  type Call = (
    caches: LLMDataDist['kvCacheManager'],
    all: Record<'a' | 'b' | 'two' | 'wide' | 'host', KvCache>,
  ) => Promise<void>;
  const cases: [string, Call][] = [
    ['a size of 0', (c, { a, b }) => c.copyCache(b, a, { size: 0 })],
    ['a size below -1', (c, { a, b }) => c.copyCache(b, a, { size: -2n })],
    ['different numbers of tensors', (c, { a, two }) => c.copyCache(two, a)],
    ['a source row that does not exist', (c, { a, b }) => c.copyCache(b, a, { srcBatchIndex: 4 })],
    ['a destination row that does not exist', (c, { a, b }) => c.copyCache(b, a, { dstBatchIndex: 4 })],
    ['an offset behind the row', (c, { a, b }) => c.copyCache(b, a, { offset: 64 })],
    ['a size behind the row', (c, { a, b }) => c.copyCache(b, a, { offset: 60, size: 5 })],
    ["a row that is longer than the destination's", (c, { a, wide }) => c.copyCache(a, wide)],
    ['a source block that does not exist', (c, { a }) => c.copyBlocks(a, new Map([[4, [0]]]))],
    ['a destination block that does not exist', (c, { a }) => c.copyBlocks(a, new Map([[0, [1, 4]]]))],
    ['a swap within device memory', (c, { a, b }) => c.swapBlocks(a, b, new Map([[0, 0]]))],
    ['a swap between different numbers of tensors', (c, { two, host }) => c.swapBlocks(two, host, new Map())],
    ['a swap between different block sizes', (c, { wide, host }) => c.swapBlocks(wide, host, new Map())],
    ['a swap from a block that does not exist', (c, { a, host }) => c.swapBlocks(a, host, new Map([[4, 0]]))],
    ['a swap to a block that does not exist', (c, { a, host }) => c.swapBlocks(a, host, new Map([[0, 4]]))],
  ];
  test.each(cases)('%s, and copies nothing', async (_, call) => {
    const { caches } = await single();
    const all = {
      a: await caches.allocateCache(DESC),
      b: await caches.allocateCache(DESC),
      two: await caches.allocateCache({ ...DESC, numTensors: 2 }),
      wide: await caches.allocateCache({ ...DESC, shape: [4, 32] }),
      host: await caches.allocateCache(HOST_DESC),
    };
    for (const [i, cache] of Object.values(all).entries()) await fill(cache, i);
    const before = await Promise.all(Object.values(all).map(bytesOf));
    expect(await rejection(call(caches, all))).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    expect(await Promise.all(Object.values(all).map(bytesOf))).toEqual(before);
  });

  test('caches that were unregistered, or belong to another instance', async () => {
    const { caches } = await single();
    const { prompt } = await pair();
    const a = await caches.allocateCache(DESC);
    const b = await caches.allocateCache(DESC);
    await caches.unregisterCache(b);
    expect(await rejection(caches.copyCache(a, b))).toMatchObject({ code: 'LLM_KV_CACHE_NOT_EXIST', cacheId: 2n });
    const foreign = await prompt.dist.kvCacheManager.allocateCache(DESC);
    expect(await rejection(caches.copyBlocks(foreign, new Map()))).toMatchObject({ code: 'LLM_PARAM_INVALID' });
  });
});

describe("a library that does what today's does not", () => {
  test('is asked first to copy, and the package does not copy as well', async () => {
    const mock = new MockBackend(1n, LLMRole.PROMPT, { fabric: new Fabric() });
    const calls: string[] = [];
    mock.copyKvCache = async (...args: unknown[]) => void calls.push(`copyKvCache ${args.slice(2).join(' ')}`);
    mock.copyKvBlocks = async (...args: unknown[]) =>
      void calls.push(`copyKvBlocks ${args.slice(2).map(String).join(' ')}`);
    const { caches } = await single(mock);
    const [a, b] = [await caches.allocateCache(DESC), await caches.allocateCache(DESC)];
    await fill(a, 7);
    await caches.copyCache(b, a, { srcBatchIndex: 1, dstBatchIndex: 2, offset: 4, size: 8 });
    await caches.copyBlocks(
      a,
      new Map([
        [0, [1, 2]],
        [3, []],
      ]),
    );
    expect(calls).toEqual(['copyKvCache 1 2 4 8', 'copyKvBlocks 0,0 1,2']);
    expect(await bytesOf(b)).toEqual(Buffer.alloc(1024));
  });

  test('that fails in another way is believed', async () => {
    const mock = new MockBackend(1n, LLMRole.PROMPT, { fabric: new Fabric() });
    mock.copyKvBlocks = async () => {
      throw new LLMException(507_053, { operation: 'copyBlocks' });
    };
    const { caches } = await single(mock);
    const a = await caches.allocateCache(DESC);
    expect(await rejection(caches.copyBlocks(a, new Map([[0, [1]]])))).toMatchObject({ statusCode: 507_053 });
  });
});

describe('raw statuses', () => {
  test('of a backend reach the caller as they are', async () => {
    const mock = new MockBackend(1n, LLMRole.PROMPT, { fabric: new Fabric() });
    mock.pullKvBlocks = async () => {
      throw new LLMException(107_050, { operation: 'pullBlocks' });
    };
    const { caches } = await single(mock);
    const a = await caches.allocateCache(DESC);
    const error = await rejection(caches.pullBlocks({ clusterId: 2n, cacheId: 1n }, a, [0], [0]));
    expect(error).toMatchObject({ statusCode: 107_050, code: 'LLM_UNKNOWN_STATUS', recoverable: undefined });
  });

  test('success is no exception, and statusCode and code of results agree', async () => {
    const { decoder } = await linkedPair();
    const outcome = await decoder.dist.unlinkClusters([{ remoteClusterId: 77n, remoteIpInfos: [] }], {
      force: true,
    });
    expect(outcome).toEqual([{ remoteClusterId: 77n, statusCode: LLMStatusCode.LLM_SUCCESS, code: 'LLM_SUCCESS' }]);
  });
});

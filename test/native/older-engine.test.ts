import { LLMRole, LLMStatusCode, Placement } from '../../lib';
import type { CacheDesc, KvCache, LLMDataDist } from '../../lib';
import { DESC, rejection } from '../fixtures/cluster';
import { warningsDuring } from '../fixtures/warnings';
import { begun, instance, received, standIn } from './fixtures/stand-in';

// The older engine of the library allocates, deallocates and copies caches, and registers none. Caches hold four tensors of
// four rows of 64 bytes.

const HOST: CacheDesc = { ...DESC, placement: Placement.HOST };
const ROW = 64;
const TENSORS = 4;

beforeEach(() => {
  standIn.run('older_engine on');
});

async function initialised(clusterId = 1n, listenIpInfo?: string): Promise<LLMDataDist> {
  const dist = instance(LLMRole.MIX, clusterId);
  await dist.init({ deviceId: Number(clusterId), ...(listenIpInfo !== undefined && { listenIpInfo }) });
  return dist;
}

/** Each byte says its tensor and its row. */
const pattern = (base: number) => Uint8Array.from({ length: 4 * ROW * TENSORS }, (_, i) => base + Math.floor(i / ROW));

/** The first byte of each row, tensor by tensor. */
async function rowsOf(cache: KvCache): Promise<number[][]> {
  const rows: number[][] = [];
  for (let row = 0; row < 4; row++) {
    const bytes = await cache.readBlocks([row]);
    rows.push(Array.from({ length: TENSORS }, (_, tensor) => bytes[tensor * ROW]!));
  }
  return rows;
}

async function filled(dist: LLMDataDist, desc: CacheDesc, base: number): Promise<KvCache> {
  const cache = await dist.kvCacheManager.allocateCache(desc);
  await cache.writeBlocks([0, 1, 2, 3], pattern(base));
  return cache;
}

describe.each([
  ['device', DESC],
  ['host', HOST],
])('a cache that the library allocates in %s memory', (_, desc) => {
  test('has no regions; its blocks are written and read, and it is deallocated', async () => {
    const dist = await initialised();
    const { kvCacheManager } = dist;
    const cache = await kvCacheManager.allocateCache(desc);
    expect(cache.regions).toBeUndefined();
    expect(received('AllocateCache')[0]).toMatchObject({ results: { cache_id: String(cache.cacheId) } });
    expect([received('RegisterKvCache'), received('aclrtMalloc'), received('aclrtMallocHost')]).toEqual([[], [], []]);
    expect(cache.tensorAddrs).toHaveLength(TENSORS);
    expect(begun().liveAllocations).toBe(TENSORS);
    await cache.writeBlocks([0, 1, 2, 3], pattern(3));
    expect(Buffer.from(await cache.readBlocks([0, 1, 2, 3]))).toEqual(Buffer.from(pattern(3)));
    await kvCacheManager.deallocateCache(cache);
    expect(begun().liveAllocations).toBe(0);
    expect([received('DeallocateCache').length, received('UnregisterKvCache'), received('aclrtFree')]).toEqual([
      1,
      [],
      [],
    ]);
  });

  test('is not read or written when it is deallocated, nor deallocated twice', async () => {
    const dist = await initialised();
    const { kvCacheManager } = dist;
    const cache = await filled(dist, desc, 1);
    await kvCacheManager.deallocateCache(cache);
    expect(await rejection(kvCacheManager.deallocateCache(cache))).toMatchObject({
      code: 'LLM_PARAM_INVALID',
      operation: 'deallocateCache',
    });
    expect(await rejection(cache.readBlocks([0]))).toMatchObject({ code: 'LLM_KV_CACHE_NOT_EXIST' });
    expect(await rejection(cache.writeBlocks([0], new Uint8Array(ROW * TENSORS)))).toMatchObject({
      code: 'LLM_KV_CACHE_NOT_EXIST',
    });
    expect(received('DeallocateCache')).toHaveLength(1);
  });
});

test('what the library has allocated is deallocated, not unregistered', async () => {
  const { kvCacheManager } = await initialised();
  const cache = await kvCacheManager.allocateCache(DESC);
  for (const by of [cache, cache.cacheId]) {
    expect(await rejection(kvCacheManager.unregisterCache(by))).toMatchObject({
      code: 'LLM_PARAM_INVALID',
      operation: 'unregisterCache',
      remedy: expect.stringContaining('deallocateCache()') as string,
    });
  }
  expect(received('UnregisterKvCache')).toEqual([]);
  await kvCacheManager.deallocateCache(cache);
});

test('finalize ends caches that are left, and their handles with them', async () => {
  const dist = await initialised();
  const cache = await filled(dist, DESC, 1);
  await filled(dist, HOST, 2);
  expect(begun().liveAllocations).toBe(2 * TENSORS);
  await warningsDuring(() => dist.finalize());
  expect(begun().liveAllocations).toBe(0);
  expect(await rejection(cache.readBlocks([0]))).toMatchObject({ code: 'LLM_FAILED' });
  await dist.init({ deviceId: 1 });
  expect(await rejection(cache.readBlocks([0]))).toMatchObject({ code: 'LLM_PARAM_INVALID' });
  expect(await rejection(dist.kvCacheManager.deallocateCache(cache))).toMatchObject({ code: 'LLM_PARAM_INVALID' });
});

describe('the library copies', () => {
  test('a part of a row, from device memory', async () => {
    const dist = await initialised();
    const [cache, host] = [await filled(dist, DESC, 1), await filled(dist, HOST, 101)];
    await dist.kvCacheManager.copyCache(host, cache, { srcBatchIndex: 1, dstBatchIndex: 2, offset: 8, size: 16 });
    const before = Uint8Array.from(await host.readBlocks([2]));
    const source = await cache.readBlocks([1]);
    for (let tensor = 0; tensor < TENSORS; tensor++) {
      const row = Buffer.from(before.subarray(tensor * ROW, (tensor + 1) * ROW));
      expect([...row].every((byte, i) => (byte === source[tensor * ROW]) === (i >= 8 && i < 24))).toBe(true);
    }
    expect(received('aclrtMemcpy').filter(({ args }) => args.kind === 3)).toEqual([]);
  });

  test('each block to all of its own destinations', async () => {
    const dist = await initialised();
    const cache = await filled(dist, DESC, 1);
    const [zero, , , three] = await rowsOf(cache);
    // A library that took the lists for those of one source each would refuse them, or copy 3 to block 1.
    await dist.kvCacheManager.copyBlocks(cache, new Map([[0, [1, 2]]]));
    expect(await rowsOf(cache)).toEqual([zero, zero, zero, three]);
    await cache.writeBlocks([0, 1, 2, 3], pattern(1));
    const [a, b] = await rowsOf(cache);
    await dist.kvCacheManager.copyBlocks(
      cache,
      new Map([
        [0, [2]],
        [1, [3]],
      ]),
    );
    expect(await rowsOf(cache)).toEqual([a, b, a, b]);
    expect(received('CopyKvBlocks').map(({ args }) => [args.src_blocks, args.dst_blocks_list])).toEqual([
      [['0', '0'], [['1', '2']]],
      [['0', '1'], [['2', '3']]],
    ]);
  });

  test('two blocks to two destinations each', async () => {
    const dist = await initialised();
    const desc = { ...DESC, shape: [6, ...DESC.shape.slice(1)] };
    const cache = await dist.kvCacheManager.allocateCache(desc);
    for (let row = 0; row < 6; row++) await cache.writeBlocks([row], new Uint8Array(ROW * TENSORS).fill(row + 1));
    await dist.kvCacheManager.copyBlocks(
      cache,
      new Map([
        [0, [2, 3]],
        [1, [4, 5]],
      ]),
    );
    const firsts: number[] = [];
    for (let row = 0; row < 6; row++) firsts.push((await cache.readBlocks([row]))[0]!);
    expect(firsts).toEqual([1, 2, 1, 1, 2, 2]);
  });

  test('blocks between host and device memory, both ways', async () => {
    const dist = await initialised();
    const [cache, host] = [await filled(dist, DESC, 1), await filled(dist, HOST, 101)];
    const [ofCache, ofHost] = [await rowsOf(cache), await rowsOf(host)];
    const pairs = new Map([
      [3, 0],
      [2, 1],
    ]);
    await dist.kvCacheManager.swapBlocks(cache, host, pairs);
    expect(await rowsOf(host)).toEqual([ofCache[3], ofCache[2], ofHost[2], ofHost[3]]);
    await dist.kvCacheManager.swapBlocks(host, cache, new Map([[3, 3]]));
    expect(await rowsOf(cache)).toEqual([ofCache[0], ofCache[1], ofCache[2], ofHost[3]]);
  });

  test('nothing for an empty map, and is not asked', async () => {
    const dist = await initialised();
    const cache = await filled(dist, DESC, 1);
    await dist.kvCacheManager.copyBlocks(cache, new Map());
    await dist.kvCacheManager.copyBlocks(cache, new Map([[0, []]]));
    expect(received('CopyKvBlocks')).toEqual([]);
  });

  test('not from host to host memory, where the package does it', async () => {
    const dist = await initialised();
    const host = await filled(dist, HOST, 1);
    const [zero, one, , three] = await rowsOf(host);
    await dist.kvCacheManager.copyCache(host, host, { srcBatchIndex: 1, dstBatchIndex: 2 });
    expect(await rowsOf(host)).toEqual([zero, one, one, three]);
    await dist.kvCacheManager.copyBlocks(
      host,
      new Map([
        [0, [1]],
        [3, [2, 0]],
      ]),
    );
    expect(await rowsOf(host)).toEqual([three, zero, three, three]);
    const refusals = ['CopyKvCache', 'CopyKvBlocks'] as const;
    for (const method of refusals) {
      expect(received(method).map(({ returned }) => returned)).toEqual([LLMStatusCode.LLM_PARAM_INVALID]);
    }
  });

  test('a row from host to device memory, or the package does', async () => {
    const dist = await initialised();
    const [cache, host] = [await filled(dist, DESC, 1), await filled(dist, HOST, 101)];
    const [of, ofHost] = [await rowsOf(cache), await rowsOf(host)];
    await dist.kvCacheManager.copyCache(cache, host, { srcBatchIndex: 1, dstBatchIndex: 2 });
    expect(await rowsOf(cache)).toEqual([of[0], of[1], ofHost[1], of[3]]);
  });

  test('what it refuses from device memory is refused', async () => {
    const dist = await initialised();
    const cache = await filled(dist, DESC, 1);
    standIn.set('CopyKvBlocks', { status: LLMStatusCode.LLM_PARAM_INVALID, times: 1 });
    const copied = dist.kvCacheManager.copyBlocks(cache, new Map([[0, [1]]]));
    expect(await rejection(copied)).toMatchObject({ code: 'LLM_PARAM_INVALID', operation: 'copyBlocks' });
  });

  test('what fails in another way from host memory has failed', async () => {
    const dist = await initialised();
    const host = await filled(dist, HOST, 1);
    standIn.set('CopyKvBlocks', { status: LLMStatusCode.LLM_FAILED, times: 1 });
    const rows = await rowsOf(host);
    const copied = dist.kvCacheManager.copyBlocks(host, new Map([[0, [1]]]));
    expect(await rejection(copied)).toMatchObject({ code: 'LLM_FAILED', operation: 'copyBlocks' });
    expect(await rowsOf(host)).toEqual(rows);
  });
});

test('pulls go into what the library has allocated, from what another one has', async () => {
  const prompt = await initialised(1n, '127.0.0.1:26011');
  const source = await filled(prompt, DESC, 1);
  const decoder = await initialised(2n);
  const destination = await filled(decoder, DESC, 101);
  const cluster = {
    remoteClusterId: 1n,
    remoteIpInfos: [{ ip: '127.0.0.1', port: 26011 }],
    localIpInfos: [{ ip: '127.0.0.1' }],
    life: prompt.life,
  };
  await decoder.linkClusters([cluster]);
  const before = await rowsOf(destination);
  await decoder.kvCacheManager.pullBlocks(source.key(), destination, [0, 3], [2, 1]);
  const from = await rowsOf(source);
  expect(await rowsOf(destination)).toEqual([before[0], from[3], from[0], before[3]]);
  await decoder.kvCacheManager.pullCache(source.key(1), destination, 0);
  expect((await rowsOf(destination))[0]).toEqual(from[1]);
  await decoder.unlinkClusters([cluster]);
  await prompt.kvCacheManager.deallocateCache(source);
  await decoder.kvCacheManager.deallocateCache(destination);
  expect(begun().liveAllocations).toBe(0);
});

test('a library that has no memory says so, and the package takes none instead', async () => {
  const dist = await initialised();
  standIn.set('AllocateCache', { status: LLMStatusCode.LLM_DEVICE_OUT_OF_MEMORY, times: 1 });
  const refused = await rejection(dist.kvCacheManager.allocateCache(DESC));
  expect(refused).toMatchObject({ code: 'LLM_DEVICE_OUT_OF_MEMORY', operation: 'allocateCache' });
  expect([received('aclrtMalloc'), begun().liveAllocations]).toEqual([[], 0]);
});

test('a cache whose deallocation fails is as it was, and can be deallocated', async () => {
  const dist = await initialised();
  const cache = await filled(dist, DESC, 1);
  standIn.set('DeallocateCache', { status: LLMStatusCode.LLM_FAILED, times: 1 });
  expect(await rejection(dist.kvCacheManager.deallocateCache(cache))).toMatchObject({ code: 'LLM_FAILED' });
  expect((await cache.readBlocks([0]))[0]).toBe(1);
  await dist.kvCacheManager.deallocateCache(cache);
});

test('memory of the caller cannot be registered with it: the library says so', async () => {
  const dist = await initialised();
  await using region = await dist.allocateMemory(4 * ROW);
  const registered = dist.kvCacheManager.registerCache({ ...DESC, numTensors: 1 }, [region.address]);
  expect(await rejection(registered)).toMatchObject({
    code: 'LLM_FEATURE_NOT_ENABLED',
    operation: 'registerCache',
    remedy: expect.stringContaining('use allocateCache()') as string,
  });
});

import { LLMDataDist, LLMException, LLMRole, LLMStatusCode } from '../lib';
import type { Backend, CacheDesc } from '../lib';
import { MockBackend } from '../lib/testing';
import { DESC, rejection, track } from './fixtures/cluster';

// A library that allocates, deallocates and copies caches itself, as the older engine does, and one that answers
// LLM_FEATURE_NOT_ENABLED, as today's does.

const NOT_ENABLED = LLMStatusCode.LLM_FEATURE_NOT_ENABLED;

/** Allocates caches in memory of its own, and registers none. */
class OlderEngine extends MockBackend {
  readonly asked: string[] = [];
  readonly caches = new Map<bigint, BigUint64Array>();

  override async allocateCache(desc?: Parameters<Backend['allocateCache']>[0]): ReturnType<Backend['allocateCache']> {
    this.asked.push('allocateCache');
    const { numTensors, placement } = desc!;
    const addrs: bigint[] = [];
    for (let i = 0; i < numTensors; i++) addrs.push(await super.malloc(256n, placement));
    const cacheId = BigInt(this.caches.size + 11);
    this.caches.set(cacheId, BigUint64Array.from(addrs));
    return { cacheId, tensorAddrs: this.caches.get(cacheId)!, desc: desc! };
  }
  override async deallocateCache(cacheId?: bigint): Promise<void> {
    this.asked.push(`deallocateCache ${cacheId}`);
    for (const address of this.caches.get(cacheId!) ?? []) await super.free(address);
    this.caches.delete(cacheId!);
  }
  override registerKvCache(): Promise<bigint> {
    return Promise.reject(new LLMException(NOT_ENABLED, { operation: 'registerCache' }));
  }
  override unregisterKvCache(): Promise<void> {
    return Promise.reject(new LLMException(NOT_ENABLED, { operation: 'unregisterCache' }));
  }
  override copyKvCache(...args: unknown[]): Promise<void> {
    this.asked.push(`copyKvCache ${args.slice(2).join()}`);
    return Promise.resolve();
  }
  override copyKvBlocks(...args: unknown[]): Promise<void> {
    this.asked.push(`copyKvBlocks ${String(args[2])} to ${(args[3] as BigUint64Array[]).join('; ')}`);
    return Promise.resolve();
  }
}

async function older(listens = false) {
  const backend = new OlderEngine(1n, LLMRole.PROMPT);
  const dist = track(new LLMDataDist(LLMRole.PROMPT, 1n, { backend }));
  await dist.init({ deviceId: 0, ...(listens ? { listenIpInfo: '127.0.0.1:26777' } : {}) });
  return { dist, backend, caches: dist.kvCacheManager };
}

const HOST: CacheDesc = { ...DESC, placement: 0 };

describe('a library that allocates caches', () => {
  test('gives a cache without regions, whose blocks are read and written, and takes it back', async () => {
    const { caches, backend } = await older(true);
    const cache = await caches.allocateCache(DESC);
    expect(cache).toMatchObject({ cacheId: 11n, tensorAddrs: backend.caches.get(11n) });
    expect(cache.regions).toBeUndefined();
    expect(cache.key()).toMatchObject({ cacheId: 11n, layout: { numTensors: 4, rows: 4, rowBytes: 64n } });
    const bytes = Uint8Array.from({ length: 4 * 64 }, (_, i) => i);
    await cache.writeBlocks([2], bytes);
    expect(await cache.readBlocks([2])).toEqual(bytes);
    await caches.deallocateCache(cache);
    expect(backend.asked).toEqual(['allocateCache', 'deallocateCache 11']);
    expect(backend.space.regions).toEqual([]);
    expect(await rejection(caches.deallocateCache(cache))).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    expect(await rejection(cache.readBlocks([0]))).toMatchObject({ code: 'LLM_KV_CACHE_NOT_EXIST' });
  });

  test('copies and swaps itself', async () => {
    const { caches, backend } = await older();
    const [cache, host] = [await caches.allocateCache(DESC), await caches.allocateCache(HOST)];
    backend.asked.length = 0;
    await caches.copyCache(host, cache, { srcBatchIndex: 1, dstBatchIndex: 2, offset: 8, size: 16 });
    await caches.copyBlocks(cache, new Map([[0, [1, 2]]]));
    await caches.swapBlocks(cache, host, new Map([[3, 1]]));
    expect(backend.asked).toEqual(['copyKvCache 1,2,8,16', 'copyKvBlocks 0,0 to 1,2', 'copyKvBlocks 3 to 1']);
    for (const each of [cache, host]) await caches.deallocateCache(each);
  });

  test('has what it allocated deallocated, not unregistered', async () => {
    const { caches } = await older();
    const cache = await caches.allocateCache(DESC);
    for (const by of [cache, cache.cacheId]) {
      expect(await rejection(caches.unregisterCache(by))).toMatchObject({
        code: 'LLM_PARAM_INVALID',
        operation: 'unregisterCache',
        remedy: expect.stringContaining('deallocateCache()') as string,
      });
    }
    await caches.deallocateCache(cache);
  });

  test.each(['allocateCache', 'deallocateCache', 'copyKvCache', 'copyKvBlocks'] as const)(
    'rejects with what %s answers, and the package does nothing instead',
    async (method) => {
      const { caches, backend, dist } = await older();
      const cache = await caches.allocateCache(DESC);
      const failure = new LLMException(LLMStatusCode.LLM_DEVICE_OUT_OF_MEMORY, { operation: method });
      const fail = jest.spyOn(backend, method).mockRejectedValueOnce(failure);
      const own = jest.spyOn(backend, 'malloc');
      const call = {
        allocateCache: () => caches.allocateCache(DESC),
        deallocateCache: () => caches.deallocateCache(cache),
        copyKvCache: () => caches.copyCache(cache, cache, { dstBatchIndex: 1 }),
        copyKvBlocks: () => caches.copyBlocks(cache, new Map([[0, [1]]])),
      }[method];
      expect(await rejection(call())).toMatchObject({ code: 'LLM_DEVICE_OUT_OF_MEMORY' });
      expect(own).not.toHaveBeenCalled();
      fail.mockRestore();
      // It is as it was, and can be deallocated.
      await caches.deallocateCache(cache);
      await dist.finalize();
    },
  );
});

describe('a library that does not', () => {
  test.each([
    ['device', DESC, LLMStatusCode.LLM_DEVICE_OUT_OF_MEMORY, 'LLM_DEVICE_OUT_OF_MEMORY'],
    ['host', HOST, LLMStatusCode.LLM_OUT_OF_MEMORY, 'LLM_OUT_OF_MEMORY'],
  ] as const)(
    'has no %s memory: the refusal says how much was asked for and is taken',
    async (place, desc, status, code) => {
      const backend = new MockBackend(3n, LLMRole.MIX);
      const dist = track(new LLMDataDist(LLMRole.MIX, 3n, { backend }));
      await dist.init({ deviceId: 0 });
      await using other = await dist.allocateMemory(1000);
      const take = backend.malloc.bind(backend);
      const malloc = jest.spyOn(backend, 'malloc');
      let calls = 0;
      malloc.mockImplementation((...args) => {
        calls += 1;
        return calls === 3 ? Promise.reject(new LLMException(status, { operation: 'malloc' })) : take(...args);
      });
      const error = await rejection(dist.kvCacheManager.allocateCache(desc));
      expect(error).toMatchObject({ code, operation: 'allocateCache' });
      expect(String(error)).toContain(
        `tensor 2 of 4, each of 256 bytes of ${place} memory, could not be allocated: the cache takes 1024 bytes, and the ` +
          'instance had 1512 bytes allocated',
      );
      malloc.mockRestore();
      expect(backend.space.regions.map(({ address }) => address)).toEqual([other.address]);
    },
  );

  test('is asked each time, and the package does the work', async () => {
    const backend = new MockBackend(2n, LLMRole.MIX);
    const dist = track(new LLMDataDist(LLMRole.MIX, 2n, { backend }));
    await dist.init({ deviceId: 0 });
    const asked = (['allocateCache', 'deallocateCache', 'copyKvCache', 'copyKvBlocks'] as const).map((method) =>
      jest.spyOn(backend, method),
    );
    const { kvCacheManager: caches } = dist;
    const [cache, host] = [await caches.allocateCache(DESC), await caches.allocateCache(HOST)];
    await cache.writeBlocks([0], new Uint8Array(256).fill(5));
    await caches.copyBlocks(cache, new Map([[0, [3]]]));
    await caches.swapBlocks(cache, host, new Map([[3, 1]]));
    await caches.copyCache(host, host, { srcBatchIndex: 1, dstBatchIndex: 2 });
    expect((await host.readBlocks([2])).every((byte) => byte === 5)).toBe(true);
    expect(cache.regions).toHaveLength(4);
    for (const each of [cache, host]) await caches.deallocateCache(each);
    expect(asked.map(({ mock }) => mock.calls.length)).toEqual([2, 2, 1, 2]);
    expect(backend.space.regions).toEqual([]);
  });
});

import { LLMDataDist, LLMException, LLMRole, LLMStatusCode, Placement } from '../lib';
import type { KvCache } from '../lib';
import { Fabric, MockBackend } from '../lib/testing';
import type { Fault } from '../lib/testing';
import { DESC, rejection, track } from './fixtures/cluster';
import { make, newFabric } from './fixtures/fabric';

const ROW = 64;

async function single() {
  const fabric = newFabric();
  // Without a listener no peer can hold its memory, so that what is released is released at once.
  const dist = make(fabric, 1n);
  await dist.init({ deviceId: 0 });
  return { fabric, dist, cache: await dist.kvCacheManager.allocateCache(DESC) };
}

type Call = (dist: LLMDataDist, cache: KvCache) => Promise<unknown>;
type Faulty = Fault['op'];

function fails(operation: string, statusCode: number): Promise<never> {
  return Promise.reject(new LLMException(statusCode, { operation }));
}

describe('an exception names the method that was called, and its cache', () => {
  test.each<[method: string, fails: Faulty, call: Call]>([
    ['readBlocks', 'read', (_, cache) => cache.readBlocks([0])],
    ['writeBlocks', 'write', (_, cache) => cache.writeBlocks([0], new Uint8Array(DESC.numTensors * ROW))],
    [
      'copyCache',
      'copyCache',
      ({ kvCacheManager }, cache) => kvCacheManager.copyCache(cache, cache, { dstBatchIndex: 1 }),
    ],
    ['copyBlocks', 'copyBlocks', ({ kvCacheManager }, cache) => kvCacheManager.copyBlocks(cache, new Map([[0, [1]]]))],
    ['unregisterCache', 'unregisterCache', ({ kvCacheManager }, cache) => kvCacheManager.unregisterCache(cache)],
    ['deallocateCache', 'unregisterCache', ({ kvCacheManager }, cache) => kvCacheManager.deallocateCache(cache)],
    ['deallocateCache', 'free', ({ kvCacheManager }, cache) => kvCacheManager.deallocateCache(cache)],
  ])('%s, where %s fails', async (operation, op, call) => {
    const { fabric, dist, cache } = await single();
    fabric.inject({ op, times: 1, status: 'LLM_FAILED' });
    const { cacheId } = cache;
    expect(await rejection(call(dist, cache))).toMatchObject({
      operation,
      cacheId,
      code: 'LLM_FAILED',
      message: expect.stringMatching(new RegExp(`^${operation} failed: .*cache ${cacheId}\\b`)) as string,
    });
  });

  test.each<Faulty>(['allocateMemory', 'registerCache'])('allocateCache, where %s fails', async (op) => {
    const { fabric, dist } = await single();
    fabric.inject({ op, times: 1, status: 'LLM_DEVICE_OUT_OF_MEMORY' });
    expect(await rejection(dist.kvCacheManager.allocateCache(DESC))).toMatchObject({
      operation: 'allocateCache',
      code: 'LLM_DEVICE_OUT_OF_MEMORY',
      message: expect.stringMatching(/^allocateCache failed: /) as string,
    });
  });

  test('allocateCache, where a guard refuses the registration', async () => {
    const { dist } = await single();
    const error = await rejection(dist.kvCacheManager.allocateCache({ ...DESC, numTensors: 131_062, shape: [1, 1] }));
    expect(error).toMatchObject({ operation: 'allocateCache', remedy: expect.stringMatching(/^Rule /) as string });
  });

  test.each<[method: string, call: (dist: LLMDataDist, cache: KvCache, host: KvCache) => Promise<void>]>([
    ['swapBlocks', ({ kvCacheManager: m }, cache, host) => m.swapBlocks(cache, host, new Map([[0, 1]]))],
    ['copyBlocks', ({ kvCacheManager: m }, cache) => m.copyBlocks(cache, new Map([[0, [1]]]))],
    ['copyCache', ({ kvCacheManager: m }, cache, host) => m.copyCache(host, cache)],
  ])('%s, where a copy of memory fails', async (operation, call) => {
    const backend = new MockBackend(1n, LLMRole.PROMPT, { fabric: new Fabric() });
    const dist = track(new LLMDataDist(LLMRole.PROMPT, 1n, { backend }));
    await dist.init({ deviceId: 0 });
    const cache = await dist.kvCacheManager.allocateCache(DESC);
    const host = await dist.kvCacheManager.allocateCache({ ...DESC, placement: Placement.HOST });
    backend.copyKvBlocks = backend.copyKvCache = () => fails('copyCache', LLMStatusCode.LLM_FEATURE_NOT_ENABLED);
    backend.copy = () => fails('write', LLMStatusCode.LLM_FAILED);
    expect(await rejection(call(dist, cache, host))).toMatchObject({
      operation,
      cacheId: cache.cacheId,
      code: 'LLM_FAILED',
    });
  });

  test('finalize, where memory cannot be freed', async () => {
    const { fabric, dist } = await single();
    fabric.inject({ op: 'free', times: 1, status: 'LLM_FAILED' });
    expect(await rejection(dist.finalize())).toMatchObject({ operation: 'finalize', code: 'LLM_FAILED' });
    await dist.finalize();
  });
});

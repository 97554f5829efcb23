import { DataType, LLMRole } from '../lib';
import type { CacheDesc, LLMDataDist } from '../lib';
import { DescribedCache } from '../lib/cache';
import { guardRefusals, mockBackends, runScenario } from '../lib/conformance';
import { Fabric } from '../lib/testing';
import { bytesOf, DESC, linkedPair, node, PROMPT_CLUSTER, PROMPT_PORT, rejection } from './fixtures/cluster';
import { answered, crashes } from './fixtures/crashes';

/** What the README lists as deliberate differences: where the library's behaviour is undefined the mock decides. */

describe('what ends the process of the library', () => {
  test('is all there', () => {
    expect(crashes.length).toBe(13);
  });

  test.each(crashes.map((crash) => [crash.name, crash] as const))(
    '%s: is refused, and nothing changes',
    async (_, crash) => {
      expect(await runScenario(answered(crash, 'LLM_PARAM_INVALID'), mockBackends)).toEqual([]);
    },
  );

  const byDescription = 'push-tensor-count-overflow';
  test.each(crashes.filter(({ name }) => name !== byDescription).map((crash) => [crash.name, crash] as const))(
    '%s: does not get past the guards',
    async (_, crash) => {
      const refusals = await guardRefusals([answered(crash, 'LLM_FAILED')], mockBackends);
      expect(refusals.length).toBeGreaterThan(0);
      for (const { step } of refusals) expect(step).toBeLessThanOrEqual(crash.crash.step);
    },
  );

  test(`${byDescription}: cannot happen with guards, which describe the source of a push themselves`, async () => {
    const { decoder, decoderCache, promptCache } = await linkedPair();
    const { cacheId, desc } = decoderCache;
    const lie = new DescribedCache(cacheId, { ...desc, numTensors: 2 ** 31 }) as unknown as bigint;
    await decoder.dist.kvCacheManager.pushCache(promptCache.key(), lie, 0, { tensorNumPerLayer: 1 });
    expect((await bytesOf(promptCache)).subarray(0, 64)).toEqual((await bytesOf(decoderCache)).subarray(0, 64));
  });
});

describe("what reads or writes past the peer's memory", () => {
  type Call = (
    caches: LLMDataDist['kvCacheManager'],
    key: { clusterId: bigint; cacheId: bigint },
    local: bigint,
  ) => Promise<void>;
  const wide: CacheDesc = { ...DESC, shape: [4, 32] };
  const long: CacheDesc = { ...DESC, shape: [8, 16] };
  const cases: [string, CacheDesc, CacheDesc, Call][] = [
    ['a remote row that does not exist', DESC, DESC, (c, key, local) => c.pullCache({ ...key, batchIndex: 4 }, local)],
    ['the largest remote row', DESC, DESC, (c, key, local) => c.pullCache({ ...key, batchIndex: 0xffff_ffff }, local)],
    [
      'a run of blocks that ends behind the remote tensor',
      DESC,
      long,
      (c, key, local) => c.pullBlocks(key, local, [2, 3, 4], [0, 1, 2]),
    ],
    [
      'layers that the remote cache does not have',
      { ...DESC, numTensors: 2 },
      DESC,
      (c, key, local) => c.pullBlocks(key, local, [0], [0], { srcLayerRange: [1, 1], dstLayerRange: [0, 0] }),
    ],
    [
      'rows that do not fit the last remote row',
      DESC,
      wide,
      (c, key, local) => c.pushCache({ ...key, batchIndex: 3 }, local),
    ],
    ['blocks that are larger than the remote ones', DESC, wide, (c, key, local) => c.pushBlocks(key, local, [0], [3])],
  ];
  test.each(cases)('%s: is refused, and nothing is copied', async (_, promptDesc, decoderDesc, call) => {
    const { decoder, promptCache, decoderCache } = await linkedPair({ guards: false }, {}, promptDesc, decoderDesc);
    const before = [await bytesOf(promptCache), await bytesOf(decoderCache)];
    const key = { clusterId: 1n, cacheId: promptCache.cacheId };
    // The source of a push is described by its handle when guards are off.
    const manager = decoder.dist.kvCacheManager;
    const local = new DescribedCache(decoderCache.cacheId, decoderCache.desc) as unknown as bigint;
    expect(await rejection(call(manager, key, local))).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    expect([await bytesOf(promptCache), await bytesOf(decoderCache)]).toEqual(before);
  });

  test('a remainder of the remote tensor that leaves the local one: is refused', async () => {
    // 23 bytes in rows of 5: the library copies 3 bytes into a row of 2, the last one of the local tensor.
    const remote: CacheDesc = { numTensors: 1, dataType: DataType.DT_INT2, shape: [4, 23] };
    const local: CacheDesc = { numTensors: 1, dataType: DataType.DT_INT8, shape: [4, 2] };
    const { decoder, promptCache, decoderCache } = await linkedPair({ guards: false }, {}, remote, local);
    const before = await bytesOf(decoderCache);
    const pull = decoder.dist.kvCacheManager.pullCache(promptCache.key(), decoderCache, 3);
    expect(await rejection(pull)).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    expect(await bytesOf(decoderCache)).toEqual(before);
  });
});

test('types below a byte beyond 2^31 bits are refused: the library computes their size in 32 bits', async () => {
  const { dist } = node(LLMRole.PROMPT, 1n, { fabric: new Fabric() }, { guards: false });
  await dist.init({ deviceId: 0 });
  const desc = { numTensors: 1, dataType: DataType.DT_INT4, shape: [1, 2 ** 29] };
  expect(await rejection(dist.kvCacheManager.registerCache(desc, [4096n]))).toMatchObject({
    code: 'LLM_PARAM_INVALID',
  });
});

test('a transfer with a negative wait time ends at once instead of never', async () => {
  const fabric = new Fabric();
  const prompt = node(LLMRole.PROMPT, 1n, { fabric }, { guards: false });
  const decoder = node(LLMRole.DECODER, 2n, { fabric }, { guards: false });
  await prompt.dist.init({ deviceId: 0, listenIpInfo: `127.0.0.1:${PROMPT_PORT}` });
  await decoder.dist.init({
    'llm.DeviceId': '1',
    'llm.SyncKvCacheWaitTime': '4294967295',
    'llm.ListenIpInfo': '127.0.0.1:26001',
  });
  const remote = await prompt.dist.kvCacheManager.allocateCache(DESC);
  const local = await decoder.dist.kvCacheManager.allocateCache(DESC);
  await decoder.dist.linkClusters([PROMPT_CLUSTER]);
  fabric.disturb('127.0.0.1', PROMPT_PORT, 'silent');
  expect(await rejection(decoder.dist.kvCacheManager.pullCache(remote.key(), local))).toMatchObject({
    code: 'LLM_TIMEOUT',
  });
});

describe('the newer engine of hixl', () => {
  test('refuses memory that overlaps a registration of the same kind, and takes an id for it', async () => {
    const { dist } = node(LLMRole.PROMPT, 1n, { fabric: new Fabric() }, { guards: false });
    const endpoint = { protocol: 'roce', comm_id: '127.0.0.1', placement: 'host' };
    await dist.init({
      deviceId: 0,
      transferBackend: 'hixl',
      listenIpInfo: '127.0.0.1:26000',
      localCommRes: JSON.stringify({ version: '1.3', net_instance_id: 'a', endpoint_list: [endpoint] }),
    });
    const region = await dist.allocateMemory(1024);
    const register = (offset: bigint, placement = 1) =>
      dist.kvCacheManager.registerCache({ ...DESC, numTensors: 1, placement }, [region.address + offset]);
    await register(0n);
    expect(await rejection(register(128n))).toMatchObject({
      code: 'LLM_PARAM_INVALID',
      message: expect.stringMatching(
        /256 bytes at 0x[\da-f]+ overlap 256 bytes at 0x[\da-f]+ of cache 1, which is registered/,
      ) as string,
    });
    expect((await register(128n, 0)).cacheId).toBe(3n);
    expect((await register(0n)).cacheId).toBe(4n);
    expect((await register(256n)).cacheId).toBe(5n);
    const two = [region.address + 512n, region.address + 600n];
    const pair = () => dist.kvCacheManager.registerCache({ ...DESC, numTensors: 2 }, two);
    expect(String(await rejection(pair()))).toMatch(/of another tensor of the call/);
    // The library keeps the first address of a call that it refused.
    expect(String(await rejection(pair()))).toMatch(/of cache 6, whose registration failed and left memory registered/);
  });
});

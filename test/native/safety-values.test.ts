import { DataType, LLMException, LLMRole } from '../../lib';
import type { CacheDesc, GuardRule, LLMConfigOptions, PullOptions } from '../../lib';
import { DescribedCache } from '../../lib/cache';
import { guardRefusals, nativeBackends, runScenario } from '../../lib/conformance';
import { DESC, rejection } from '../fixtures/cluster';
import { answered, crashes } from '../fixtures/crashes';
import { linkedPair, pair } from './fixtures/pair';
import type { Pair } from './fixtures/pair';
import { instance, libraryCalls, provokes, received } from './fixtures/stand-in';

/** Checks that a call is refused by `rule`, and that the library hears nothing of it. */
async function expectRefusal(rule: GuardRule, call: () => Promise<unknown>): Promise<void> {
  const before = libraryCalls().length;
  const error = await rejection(call());
  expect(error).toBeInstanceOf(LLMException);
  expect(error).toMatchObject({
    code: 'LLM_PARAM_INVALID',
    remedy: expect.stringMatching(new RegExp(`^Rule ${rule}: `)) as unknown,
  });
  expect(libraryCalls().slice(before)).toEqual([]);
}

describe('what ends the process of the library', () => {
  test('is all there', () => {
    expect(crashes).toHaveLength(13);
  });

  test.each(crashes.map((crash) => [crash.name, crash] as const))('%s: reaches it without guards', async (_, crash) => {
    provokes('fatal-value');
    await runScenario(answered(crash, 'LLM_PARAM_INVALID'), nativeBackends);
  });

  const byDescription = 'push-tensor-count-overflow';
  test.each(crashes.map((crash) => [crash.name, crash] as const))(
    '%s: does not reach it with guards',
    async (name, crash) => {
      const refusals = await guardRefusals([answered(crash, 'LLM_FAILED')], nativeBackends);
      expect(refusals.length > 0).toBe(name !== byDescription);
      for (const { step } of refusals) expect(step).toBeLessThanOrEqual(crash.crash.step);
      for (const { args } of received('PushKvCache')) {
        expect(args).toMatchObject({ src_cache: { cache_desc: { num_tensors: 4 } } });
      }
    },
  );
});

describe('registering', () => {
  const cases: [number, GuardRule, Partial<CacheDesc>][] = [
    [1, 'first-dimension', { dataType: DataType.DT_INT8, shape: [2n ** 32n, 1] }],
    [2, 'first-dimension', { dataType: DataType.DT_INT8, shape: [2n ** 32n + 3n, 1] }],
    [3, 'whole-byte-rows', { dataType: DataType.DT_INT4, shape: [1, 2 ** 29] }],
    [3, 'whole-byte-rows', { dataType: DataType.DT_INT4, shape: [1, 2 ** 30] }],
    [4, 'whole-byte-rows', { dataType: DataType.DT_INT4, shape: [4, 1] }],
    [5, 'whole-byte-rows', { dataType: DataType.DT_INT2, shape: [4, 23] }],
    [6, 'cache-tensors', { dataType: DataType.DT_INT8, shape: [1, 1], numTensors: 131_062 }],
  ];
  test.each(cases)('predicate %i: %s refuses %p', async (_n, rule, desc) => {
    const { decoder } = await pair();
    const description = { ...DESC, numTensors: 1, ...desc };
    const addrs = BigUint64Array.from({ length: description.numTensors }, (_, i) => BigInt(i + 1));
    await expectRefusal(rule, () => decoder.kvCacheManager.registerCache(description, addrs));
    await expectRefusal(rule, () => decoder.kvCacheManager.allocateCache(description));
  });

  test('predicate 6: cache-table refuses the cache for which the table has no place', async () => {
    const { decoder } = await pair();
    const { kvCacheManager } = decoder;
    const desc = { dataType: DataType.DT_INT8, shape: [1] };
    const addrs = (first: number, numTensors: number) =>
      BigUint64Array.from({ length: numTensors }, (_, i) => BigInt(first + i));
    const region = await decoder.allocateMemory(131_100);
    const start = Number(region.address);
    // Beside the cache that is there, with 4 tensors.
    await kvCacheManager.registerCache({ ...desc, numTensors: 131_000 }, addrs(start, 131_000));
    await expectRefusal('cache-table', () =>
      kvCacheManager.registerCache({ ...desc, numTensors: 42 }, addrs(start + 131_000, 42)),
    );
    await kvCacheManager.registerCache({ ...desc, numTensors: 41 }, addrs(start + 131_000, 41));
  });

  test('predicate 7: memory-overlap refuses memory that is registered', async () => {
    const { decoder, decoderCache } = await pair();
    await expectRefusal('memory-overlap', () => decoder.kvCacheManager.registerCache(DESC, decoderCache.tensorAddrs));
  });

  test('predicate 8: tensor-memory refuses a tensor that is longer than its memory', async () => {
    const { decoder } = await pair();
    const region = await decoder.allocateMemory(300);
    await expectRefusal('tensor-memory', () =>
      decoder.kvCacheManager.registerCache({ ...DESC, numTensors: 1 }, [region.address + 64n]),
    );
  });
});

describe('transferring', () => {
  const layers: [number, PullOptions][] = [
    [10, { srcLayerRange: [1_073_741_824, 1_073_741_824], dstLayerRange: [0, 0], tensorNumPerLayer: 2 }],
    [10, { srcLayerRange: [0, 2_147_483_647], dstLayerRange: [0, 2_147_483_647], tensorNumPerLayer: 1 }],
    [10, { srcLayerRange: [0, 0], dstLayerRange: [0, 16_777_216], tensorNumPerLayer: 255 }],
    [11, { srcLayerRange: [0, 2_147_483_646], dstLayerRange: [0, 0], tensorNumPerLayer: 1 }],
    [12, { srcLayerRange: [-1, 2_147_483_647], dstLayerRange: [-1, 2_147_483_647] }],
  ];
  test.each(layers)('predicate %i: layer-range refuses %p', async (_n, options) => {
    const { decoder, decoderCache, key } = await linkedPair();
    const { kvCacheManager } = decoder;
    for (const call of [
      () => kvCacheManager.pullCache(key, decoderCache, 0, options),
      () => kvCacheManager.pullBlocks(key, decoderCache, [0], [0], options),
      () => kvCacheManager.pushCache(key, decoderCache, 0, options),
      () => kvCacheManager.pushBlocks(key, decoderCache, [0], [0], options),
    ]) {
      await expectRefusal('layer-range', call);
    }
  });

  test.each([
    [13, 2 ** 31],
    [14, 2 ** 32 - 1],
  ])('predicate %i: a push describes its source as it is registered, not with %i tensors', async (_n, numTensors) => {
    const { decoder, decoderCache, key } = await linkedPair();
    const desc = { ...DESC, numTensors };
    const { kvCacheManager } = decoder;
    const lie = new DescribedCache(decoderCache.cacheId, desc) as unknown as bigint;
    await kvCacheManager.pushCache(key, lie, 0);
    await kvCacheManager.pushBlocks(key, lie, [0], [0]);
    for (const method of ['PushKvCache', 'PushKvBlocks'] as const) {
      expect(received(method)).toMatchObject([{ args: { src_cache: { cache_desc: { num_tensors: 4 } } } }]);
    }
  });

  test('predicate 16: block-number refuses the last block that int64 holds', async () => {
    const { decoder, decoderCache, key } = await linkedPair();
    const { kvCacheManager } = decoder;
    const blocks = [2n ** 63n - 1n, 0n];
    for (const call of [
      () => kvCacheManager.pullBlocks(key, decoderCache, blocks, [0n, 1n]),
      () => kvCacheManager.pullBlocks(key, decoderCache, [0n, 1n], blocks),
      () => kvCacheManager.pushBlocks(key, decoderCache, blocks, [0n, 1n]),
      () => kvCacheManager.pushBlocks(key, decoderCache, [0n, 1n], blocks),
    ]) {
      await expectRefusal('block-number', call);
    }
  });
});

describe('a key with the layout of its cache', () => {
  const remote = ({ promptCache }: Pair, row?: number) => promptCache.key(row);
  const manager = ({ decoder }: Pair) => decoder.kvCacheManager;

  test.each<[number, string, Partial<CacheDesc>, GuardRule, (nodes: Pair) => Promise<void>]>([
    [
      15,
      'layers that the remote cache does not have',
      { numTensors: 8 },
      'layer-range',
      (all) =>
        manager(all).pullBlocks(remote(all), all.decoderCache, [0], [0], {
          srcLayerRange: [2, 2],
          dstLayerRange: [0, 0],
        }),
    ],
    [
      17,
      'a run of blocks that ends behind the remote tensor',
      { shape: [8, 16] },
      'peer-layout',
      (all) => manager(all).pullBlocks(remote(all), all.decoderCache, [3, 4, 5, 6], [0, 1, 2, 3]),
    ],
    [
      18,
      'blocks of another size',
      { shape: [4, 20] },
      'peer-layout',
      (all) => manager(all).pullBlocks(remote(all), all.decoderCache, [3, 0], [0, 2]),
    ],
    [
      19,
      'a row behind the remote tensor',
      { shape: [8, 16] },
      'peer-layout',
      (all) => manager(all).pullCache(remote(all, 4), all.decoderCache),
    ],
    [
      20,
      'a row that would be read at steps of another size',
      { shape: [2, 32] },
      'peer-layout',
      (all) => manager(all).pullCache(remote(all, 3), all.decoderCache, 0, { size: 64 }),
    ],
    [
      21,
      'a row that is longer than the remote one',
      { shape: [4, 32] },
      'peer-layout',
      (all) => manager(all).pushCache(remote(all, 3), all.decoderCache),
    ],
    [
      22,
      'blocks that are longer than the remote ones',
      { shape: [4, 32] },
      'peer-layout',
      (all) => manager(all).pushBlocks(remote(all), all.decoderCache, [0], [3]),
    ],
  ])('predicate %i: refuses %s', async (_n, _, desc, rule, call) => {
    const nodes = await linkedPair({}, { decoder: desc });
    await expectRefusal(rule, () => call(nodes));
  });
});

describe('initialising', () => {
  const LISTEN = { listenIpInfo: '127.0.0.1:26000' };
  const NESTED = `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
  const cases: [number, GuardRule, string, LLMConfigOptions & Record<string, unknown>][] = [
    [39, 'memory-pool', 'a pool that is no JSON', { ...LISTEN, memPoolCfg: '{' }],
    [39, 'memory-pool', 'a host pool without a size', { ...LISTEN, hostMemPoolCfg: '{}' }],
    [39, 'wait-time', 'a wait time that is no number', { ...LISTEN, 'llm.SyncKvCacheWaitTime': '1s' }],
    [40, 'memory-pool', 'a pool that is no JSON (hixl)', { ...LISTEN, transferBackend: 'hixl', memPoolCfg: '{' }],
    [
      50,
      'resource-json',
      'a resource configuration of 100,000 levels',
      { ...LISTEN, transferBackend: 'hixl', globalResourceConfig: NESTED },
    ],
    [51, 'wait-time', 'a wait time that would become -1', { 'llm.SyncKvCacheWaitTime': '4294967295' }],
    [51, 'wait-time', 'no wait time', { 'llm.SyncKvCacheWaitTime': '0' }],
    [52, 'listen-port', 'a port that would be cut', { listenIpInfo: '127.0.0.1:65536' }],
  ];
  test.each(cases)('predicate %i: %s refuses %s', async (_n, rule, _, options) => {
    const dist = instance(LLMRole.PROMPT, 1n);
    await expectRefusal(rule, () => dist.init({ deviceId: 0, ...options }));
    expect(dist.isInitialized).toBe(false);
    await dist.init({ deviceId: 0, ...LISTEN });
    expect(received('Initialize')).toHaveLength(1);
  });

  test('predicate 52: listen-port refuses it in switchRole too', async () => {
    const { prompt } = await pair();
    await expectRefusal('listen-port', () => prompt.switchRole(LLMRole.MIX, { listenIpInfo: '127.0.0.1:65536' }));
  });
});

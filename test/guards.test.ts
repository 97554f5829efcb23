import { DataType, GUARD_RULES, LLMException, LLMDataDist, LLMRole } from '../lib';
import type { CacheDesc, GuardRule, LLMConfigOptions, Recovery } from '../lib';
import { DescribedCache } from '../lib/cache';
import { Fabric, MockBackend } from '../lib/testing';
import { blind } from './fixtures/blind';
import {
  bytesOf,
  DECODER_CLUSTER,
  DESC,
  linkedPair,
  node,
  pair,
  PROMPT_CLUSTER,
  PROMPT_ID,
  rejection,
} from './fixtures/cluster';
import { hold } from './fixtures/held-calls';
import { warningsDuring } from './fixtures/warnings';

/** Every rule must have been taken by a test of this file. */
const taken = new Set<GuardRule>();

afterAll(() => {
  // It advises more than the rule says: see stale-key.test.ts.
  expect([...taken, 'stale-key'].sort()).toEqual(Object.keys(GUARD_RULES).sort());
});

/** Checks that a call is refused by `rule`, in words that name it, before the backend is called. */
async function expectRefusal(
  rule: GuardRule,
  backend: MockBackend,
  call: () => Promise<unknown>,
  { recovery, advice }: { recovery: Recovery; advice: string } = { recovery: 'fix-input', advice: GUARD_RULES[rule] },
): Promise<void> {
  const called: string[] = [];
  const spies = (
    [
      'initialize',
      'setRole',
      'linkLlmClusters',
      'registerKvCache',
      'pullKvCache',
      'pullKvBlocks',
      'pushKvCache',
      'pushKvBlocks',
      'free',
    ] as const
  ).map((method) => {
    const original = backend[method].bind(backend) as (...args: unknown[]) => Promise<never>;
    return jest.spyOn(backend, method).mockImplementation((...args: unknown[]) => {
      called.push(method);
      return original(...args);
    });
  });
  const error = await rejection(call());
  for (const spy of spies) spy.mockRestore();
  expect(error).toBeInstanceOf(LLMException);
  expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID', recovery });
  const { remedy } = error as LLMException;
  const whole = `Rule ${rule}: ${advice}.`;
  // What does not follow from the rule is said besides.
  if (rule === 'own-cache')
    expect(remedy).toMatch(/\. Use a handle .* register the cache again in this life and use the new/);
  if (rule === 'peer-layout')
    expect(remedy).toMatch(/\. Use caches of one layout, or ask the peer for a key of the right/);
  if (rule === 'own-cache' || rule === 'peer-layout' || recovery === 'retry')
    expect(remedy.startsWith(whole)).toBe(true);
  else expect(remedy).toBe(whole);
  expect(called).toEqual([]);
  taken.add(rule);
}

describe('one link call', () => {
  test.each([
    ['a cluster', [PROMPT_CLUSTER, { ...DECODER_CLUSTER, remoteClusterId: PROMPT_ID }], 'cluster 1 is named twice'],
    ['an address', [PROMPT_CLUSTER, { ...PROMPT_CLUSTER, remoteClusterId: 9n }], '127.0.0.1:26000 is named twice'],
  ])('one-link: refuses to name %s twice', async (_what, clusters, problem) => {
    const { decoder } = await pair();
    const link = () => decoder.dist.linkClusters(clusters);
    await expectRefusal('one-link', decoder.backend, link);
    const error = await rejection(link());
    expect(error).toMatchObject({ results: [] });
    expect(String(error)).toContain(problem);
  });
});

describe('registering', () => {
  const cases: [GuardRule, string, CacheDesc][] = [
    ['first-dimension', 'a first dimension of 2^32', { ...DESC, shape: [2n ** 32n, 1] }],
    ['first-dimension', 'a first dimension above 2^32', { ...DESC, shape: [2n ** 32n + 1n] }],
    ['cache-tensors', 'more tensors than any table holds', { ...DESC, numTensors: 131_062 }],
    ['whole-byte-rows', 'rows of half bytes', { ...DESC, dataType: DataType.DT_INT4, shape: [4, 3] }],
    ['whole-byte-rows', 'rows of no bytes', { ...DESC, dataType: DataType.DT_UINT1, shape: [16] }],
    ['whole-byte-rows', 'more bits than int32 holds', { ...DESC, dataType: DataType.DT_INT4, shape: [1, 2 ** 29] }],
  ];
  test.each(cases)('%s: refuses %s', async (rule, _, desc) => {
    const { prompt } = await pair();
    const addrs = new BigUint64Array(desc.numTensors).fill(4096n);
    await expectRefusal(rule, prompt.backend, () => prompt.dist.kvCacheManager.registerCache(desc, addrs));
    await prompt.dist.finalize();
  });

  test.each(cases)('%s: allocating refuses %s as well', async (_rule, _, desc) => {
    const { prompt } = await pair();
    const error = await rejection(prompt.dist.kvCacheManager.allocateCache(desc));
    expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID', operation: 'allocateCache' });
    await prompt.dist.finalize();
  });

  test('cache-table: refuses the cache that would fill the table, and the next one still fits', async () => {
    const { prompt } = await pair();
    const region = await prompt.dist.allocateMemory(200_000);
    const at = (start: number, count: number) =>
      BigUint64Array.from({ length: count }, (_, i) => region.address + BigInt(start + i));
    const desc = { dataType: DataType.DT_INT8, shape: [1] };
    const { kvCacheManager } = prompt.dist;
    await kvCacheManager.registerCache({ ...desc, numTensors: 131_000 }, at(0, 131_000));
    await expectRefusal('cache-table', prompt.backend, () =>
      kvCacheManager.registerCache({ ...desc, numTensors: 54 }, at(131_000, 54)),
    );
    const next = await kvCacheManager.registerCache({ ...desc, numTensors: 53 }, at(131_000, 53));
    expect(next.cacheId).toBe(2n);
  });

  test('tensor-memory: refuses a tensor that leaves its region, and takes one that ends with it', async () => {
    const { prompt } = await pair();
    const region = await prompt.dist.allocateMemory(512);
    const desc = { ...DESC, numTensors: 1 };
    await expectRefusal('tensor-memory', prompt.backend, () =>
      prompt.dist.kvCacheManager.registerCache(desc, [region.address + 257n]),
    );
    await prompt.dist.kvCacheManager.registerCache(desc, [region.address + 256n]);
  });

  test('tensor-memory: refuses a tensor in a region that was freed', async () => {
    const { prompt } = await pair();
    const { kvCacheManager } = prompt.dist;
    const region = await prompt.dist.allocateMemory(512);
    const desc = { ...DESC, numTensors: 1 };
    // Its unregistration waits, and so the region is still there.
    await kvCacheManager.unregisterCache(await kvCacheManager.registerCache(desc, [region.address]));
    await region.free();
    await expectRefusal('tensor-memory', prompt.backend, () =>
      kvCacheManager.registerCache(desc, [region.address + 256n]),
    );
  });

  test('memory-overlap: refuses memory that is registered, and takes it when it is not any more', async () => {
    const { prompt } = await pair();
    const { kvCacheManager } = prompt.dist;
    const region = await prompt.dist.allocateMemory(1024);
    const desc = { ...DESC, numTensors: 1 };
    const cache = await kvCacheManager.registerCache(desc, [region.address + 256n]);
    for (const offset of [1n, 256n, 511n]) {
      await expectRefusal('memory-overlap', prompt.backend, () =>
        kvCacheManager.registerCache(desc, [region.address + offset]),
      );
    }
    await kvCacheManager.registerCache({ ...desc, numTensors: 2 }, [region.address + 512n, region.address]);
    blind(prompt.backend);
    await kvCacheManager.unregisterCache(cache);
    // As long as it listens, a peer may be linked that has the memory.
    await expectRefusal('memory-overlap', prompt.backend, () =>
      kvCacheManager.registerCache(desc, [region.address + 256n]),
    );
    await prompt.dist.switchRole(LLMRole.MIX);
    await kvCacheManager.registerCache(desc, [region.address + 256n]);
  });

  test('registered-memory: refuses to free what a cache is in, whole or in part', async () => {
    const { prompt } = await pair();
    const { kvCacheManager } = prompt.dist;
    const region = await prompt.dist.allocateMemory(1024);
    const other = await prompt.dist.allocateMemory(1024);
    const cache = await kvCacheManager.registerCache({ ...DESC, numTensors: 1 }, [region.address + 700n]);
    await expectRefusal('registered-memory', prompt.backend, () => region.free());
    await expectRefusal('registered-memory', prompt.backend, async () => region[Symbol.asyncDispose]());
    await other.free();
    await kvCacheManager.unregisterCache(cache);
    await region.free();
  });

  test('memory-overlap: refuses a call whose own tensors overlap', async () => {
    const { prompt } = await pair();
    const region = await prompt.dist.allocateMemory(1024);
    const overlapping = [region.address + 512n, region.address + 300n];
    await expectRefusal('memory-overlap', prompt.backend, () =>
      prompt.dist.kvCacheManager.registerCache({ ...DESC, numTensors: 2 }, overlapping),
    );
    await region.free();
    await prompt.dist.finalize();
  });

  test('memory-overlap: two registrations at the same time do not both get the memory', async () => {
    const { prompt } = await pair();
    const region = await prompt.dist.allocateMemory(256);
    const register = () => prompt.dist.kvCacheManager.registerCache({ ...DESC, numTensors: 1 }, [region.address]);
    const outcomes = await Promise.allSettled([register(), register()]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  });

  test('a registration that the library refuses takes no memory and no table space', async () => {
    const { prompt } = await pair();
    const { kvCacheManager } = prompt.dist;
    const region = await prompt.dist.allocateMemory(256);
    const refused = kvCacheManager.registerCache({ ...DESC, numTensors: 1, shape: [4, 0] }, [region.address]);
    expect(await rejection(refused)).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    await kvCacheManager.registerCache({ ...DESC, numTensors: 1 }, [region.address]);
  });
});

describe('transferring', () => {
  type Options = Parameters<LLMDataDist['kvCacheManager']['pullBlocks']>[4];
  const ranges: [GuardRule, string, Options][] = [
    ['layer-range', 'a first layer of -1 alone', { srcLayerRange: [-1, 1], dstLayerRange: [-1, 1] }],
    ['layer-range', 'a range that falls', { srcLayerRange: [1, 0], dstLayerRange: [1, 0] }],
    ['layer-range', 'layers beyond the local cache', { srcLayerRange: [0, 2], dstLayerRange: [0, 2] }],
    ['layer-range', 'layers that overflow int32', { srcLayerRange: [0, 0], dstLayerRange: [0, 2_147_483_647] }],
    ['layer-range', 'remote layers that no cache has', { srcLayerRange: [65_530, 65_531], dstLayerRange: [0, 1] }],
    ['both-layer-ranges', 'a source range alone', { srcLayerRange: [0, 1] }],
    ['both-layer-ranges', 'a destination range alone', { dstLayerRange: [0, 1] }],
  ];
  test.each(ranges)('%s: a pull refuses %s', async (rule, _, options) => {
    const { decoder, decoderCache, promptCache } = await linkedPair();
    const before = await bytesOf(decoderCache);
    const { clusterId, cacheId } = promptCache.key();
    const { kvCacheManager } = decoder.dist;
    await expectRefusal(rule, decoder.backend, () =>
      kvCacheManager.pullBlocks({ clusterId, cacheId }, decoderCache, [0], [0], options),
    );
    await expectRefusal(rule, decoder.backend, () =>
      kvCacheManager.pullCache({ clusterId, cacheId }, decoderCache, 0, options),
    );
    expect(await bytesOf(decoderCache)).toEqual(before);
  });

  test('layer-range: a push refuses the range that ends at 2147483647', async () => {
    const { decoder, decoderCache, promptCache } = await linkedPair();
    const options = { srcLayerRange: [-1, 2_147_483_647], dstLayerRange: [-1, 2_147_483_647] } as const;
    const { clusterId, cacheId } = promptCache.key();
    await expectRefusal('layer-range', decoder.backend, () =>
      decoder.dist.kvCacheManager.pushCache({ clusterId, cacheId }, decoderCache, 0, options),
    );
    await expectRefusal('layer-range', decoder.backend, () =>
      decoder.dist.kvCacheManager.pushBlocks({ clusterId, cacheId }, decoderCache, [0], [0], options),
    );
  });

  test('local-block: a pull refuses local blocks that do not exist, in the middle of a run as well', async () => {
    const { decoder, decoderCache, promptCache } = await linkedPair();
    const { clusterId, cacheId } = promptCache.key();
    await expectRefusal('local-block', decoder.backend, () =>
      decoder.dist.kvCacheManager.pullBlocks({ clusterId, cacheId }, decoderCache, [0, 1, 2], [2, 3, 4]),
    );
    await expectRefusal('local-block', decoder.backend, () =>
      decoder.dist.kvCacheManager.pushBlocks({ clusterId, cacheId }, decoderCache, [4], [0]),
    );
  });

  test('block-number: refuses blocks of 2^32 and more on the remote side', async () => {
    const { decoder, decoderCache, promptCache } = await linkedPair();
    const { clusterId, cacheId } = promptCache.key();
    for (const block of [2n ** 32n, 2n ** 63n - 1n]) {
      await expectRefusal('block-number', decoder.backend, () =>
        decoder.dist.kvCacheManager.pullBlocks({ clusterId, cacheId }, decoderCache, [block], [0]),
      );
      await expectRefusal('block-number', decoder.backend, () =>
        decoder.dist.kvCacheManager.pushBlocks({ clusterId, cacheId }, decoderCache, [0], [block]),
      );
    }
  });

  test('own-cache: refuses the handle of another instance', async () => {
    const { decoder, promptCache } = await linkedPair();
    await expectRefusal('own-cache', decoder.backend, () =>
      decoder.dist.kvCacheManager.pullBlocks(promptCache.key(), promptCache, [0], [0]),
    );
  });

  test('own-cache: refuses a handle from before a finalize, whose id names another cache now', async () => {
    const { prompt } = await pair();
    const { dist } = prompt;
    const region = await dist.allocateMemory(512);
    const old = await dist.kvCacheManager.registerCache({ ...DESC, numTensors: 1 }, [region.address]);
    await warningsDuring(() => dist.finalize());
    await dist.init({ deviceId: 0 });
    const memory = await dist.allocateMemory(256);
    const present = await dist.kvCacheManager.registerCache({ ...DESC, numTensors: 1 }, [memory.address]);
    expect(present.cacheId).toBe(old.cacheId);
    await expectRefusal('own-cache', prompt.backend, () => dist.kvCacheManager.unregisterCache(old));
  });

  test('require-layout: refuses keys without a layout when that is asked for, and takes the others', async () => {
    const { decoder, decoderCache, promptCache } = await linkedPair({ requireLayout: true });
    const { clusterId, cacheId } = promptCache.key();
    await expectRefusal('require-layout', decoder.backend, () =>
      decoder.dist.kvCacheManager.pullBlocks({ clusterId, cacheId }, decoderCache, [0], [0]),
    );
    await decoder.dist.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [0]);
  });

  test('rows-in-flight: refuses the rows of a pull that was rejected early, until it has ended', async () => {
    const { decoder, decoderCache, promptCache } = await linkedPair();
    const { kvCacheManager: caches } = decoder.dist;
    const held = hold(decoder.backend, 'pullKvBlocks');
    const controller = new AbortController();
    const pull = rejection(caches.pullBlocks(promptCache.key(), decoderCache, [0], [1], { signal: controller.signal }));
    await held.hasEntered(1);
    controller.abort();
    const { released } = (await pull) as { released?: Promise<void> };
    const pullAgain = () => caches.pullCache(promptCache.key(), decoderCache, 1);
    const advice = 'wait until `released` of the error of that call has settled, then repeat this call';
    await expectRefusal('rows-in-flight', decoder.backend, pullAgain, { recovery: 'retry', advice });
    held.open();
    await released;
    await pullAgain();
  });

  test('require-life: refuses keys without a life when that is asked for, and takes the others', async () => {
    const { decoder, prompt, decoderCache, promptCache } = await linkedPair({ requireLife: true });
    const { clusterId, cacheId } = promptCache.key();
    const key = { clusterId, cacheId };
    for (const call of ['pullBlocks', 'pushBlocks'] as const) {
      await expectRefusal('require-life', decoder.backend, () =>
        decoder.dist.kvCacheManager[call](key, decoderCache, [0], [0]),
      );
      await decoder.dist.kvCacheManager[call]({ ...key, life: prompt.dist.life }, decoderCache, [0], [0]);
    }
  });
});

describe('peer-layout: a key with a layout', () => {
  const other = (desc: Partial<CacheDesc>): CacheDesc => ({ ...DESC, ...desc });

  test.each<[string, CacheDesc, CacheDesc, (m: LLMDataDist['kvCacheManager'], c: Caches) => Promise<void>]>([
    [
      'refuses a remote row that does not exist (pull)',
      DESC,
      DESC,
      (m, { remote, local }) => m.pullCache(remote.key(4), local),
    ],
    [
      'refuses a remote row that does not exist (push)',
      DESC,
      DESC,
      (m, { remote, local }) => m.pushCache(remote.key(4), local),
    ],
    [
      'refuses a remote block that does not exist (pull)',
      DESC,
      DESC,
      (m, { remote, local }) => m.pullBlocks(remote.key(), local, [3, 4], [0, 1]),
    ],
    [
      'refuses a remote block that does not exist (push)',
      DESC,
      DESC,
      (m, { remote, local }) => m.pushBlocks(remote.key(), local, [0], [4]),
    ],
    [
      'refuses a run that ends behind the remote tensor',
      DESC,
      other({ shape: [8, 16] }),
      (m, { remote, local }) => m.pullBlocks(remote.key(), local, [2, 3, 4], [5, 6, 7]),
    ],
    [
      'refuses blocks of another size (pull)',
      DESC,
      other({ shape: [4, 20] }),
      (m, { remote, local }) => m.pullBlocks(remote.key(), local, [0], [0]),
    ],
    [
      'refuses blocks of another size (push)',
      DESC,
      other({ shape: [4, 8] }),
      (m, { remote, local }) => m.pushBlocks(remote.key(), local, [0], [0]),
    ],
    [
      'refuses rows that are larger than the remote ones (push)',
      DESC,
      other({ shape: [4, 32] }),
      (m, { remote, local }) => m.pushCache(remote.key(), local),
    ],
    [
      'refuses rows that are larger than the remote ones (pull)',
      DESC,
      other({ shape: [4, 32] }),
      (m, { remote, local }) => m.pullCache(remote.key(), local),
    ],
    [
      'refuses a row that would be read in steps of another size',
      DESC,
      other({ shape: [4, 8] }),
      (m, { remote, local }) => m.pullCache(remote.key(1), local),
    ],
    [
      'refuses caches with different numbers of tensors (pull)',
      DESC,
      other({ numTensors: 2 }),
      (m, { remote, local }) => m.pullBlocks(remote.key(), local, [0], [0]),
    ],
    [
      'refuses caches with different numbers of tensors (push)',
      other({ numTensors: 2 }),
      DESC,
      (m, { remote, local }) => m.pushCache(remote.key(), local),
    ],
  ])('%s', async (_, promptDesc, decoderDesc, call) => {
    const { decoder, decoderCache: local, promptCache: remote } = await linkedPair({}, {}, promptDesc, decoderDesc);
    const before = [await bytesOf(local), await bytesOf(remote)];
    await expectRefusal('peer-layout', decoder.backend, () => call(decoder.dist.kvCacheManager, { local, remote }));
    expect([await bytesOf(local), await bytesOf(remote)]).toEqual(before);
  });

  test('refuses remote layers that the cache does not have, though one may have so many', async () => {
    const { decoder, decoderCache, promptCache } = await linkedPair({}, {}, other({ numTensors: 2 }), DESC);
    const options = { srcLayerRange: [1, 1], dstLayerRange: [0, 0] } as const;
    await expectRefusal('layer-range', decoder.backend, () =>
      decoder.dist.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [0], options),
    );
  });

  test('lets through what fits: smaller rows, a prefix of a row, other layers', async () => {
    const { decoder, decoderCache, promptCache } = await linkedPair({}, {}, DESC, other({ shape: [4, 8] }));
    const { kvCacheManager } = decoder.dist;
    // Rows of another shape mean something else, as far as a fingerprint says: this owner knows better.
    const key = (row = 0) => ({ ...promptCache.key(row), fingerprint: decoderCache.key().fingerprint! });
    await kvCacheManager.pullCache(key(), decoderCache, 3, { size: 16 });
    await kvCacheManager.pushCache(key(3), decoderCache, 1);
    await kvCacheManager.pullCache(key(), decoderCache, 0, {
      srcLayerRange: [1, 1],
      dstLayerRange: [0, 0],
    });
    const pulled = (await bytesOf(decoderCache)).subarray(0, 32);
    expect(pulled).toEqual((await bytesOf(promptCache)).subarray(512, 544));
  });
});

interface Caches {
  readonly local: Awaited<ReturnType<typeof linkedPair>>['decoderCache'];
  readonly remote: Awaited<ReturnType<typeof linkedPair>>['promptCache'];
}

describe('initialising', () => {
  const deep = `${'['.repeat(65)}${']'.repeat(65)}`;
  const hixl = { transferBackend: 'hixl', listenIpInfo: '127.0.0.1:26000' };
  const cases: [GuardRule, string, LLMConfigOptions & Record<string, unknown>][] = [
    ['listen-port', 'port 0', { listenIpInfo: '127.0.0.1:0' }],
    ['listen-port', 'a port that would be cut to 16 bits', { listenIpInfo: '127.0.0.1:65536' }],
    ['wait-time', 'a wait time of 0', { 'llm.SyncKvCacheWaitTime': '0' }],
    ['wait-time', 'a wait time that is cut to -1', { 'llm.SyncKvCacheWaitTime': '4294967295' }],
    ['wait-time', 'a wait time that is no number', { 'llm.SyncKvCacheWaitTime': '1s' }],
    ['wait-time', 'a wait time of many digits', { 'llm.SyncKvCacheWaitTime': '99999999999' }],
    ['memory-pool', 'a pool that is no JSON', { memPoolCfg: '{' }],
    ['memory-pool', 'a pool without a size', { memPoolCfg: '{}' }],
    ['memory-pool', 'a page shift that is out of range', { hostMemPoolCfg: '{"memory_size":1048576,"page_shift":31}' }],
    ['memory-pool', 'a pool smaller than a page', { memPoolCfg: '{"memory_size":1024}' }],
    ['resource-json', 'a communication resource that is no JSON', { localCommRes: 'not json' }],
    ['resource-json', 'a communication resource of 65 levels', { localCommRes: deep }],
    ['resource-json', 'a resource configuration of 65 levels', { ...hixl, globalResourceConfig: `{"a":${deep}}` }],
    [
      'resource-json',
      'a resource configuration out of range',
      { ...hixl, globalResourceConfig: '{"connect_pool.thread_num":65}' },
    ],
    [
      'resource-json',
      'an endpoint that does not exist',
      { ...hixl, localCommRes: '{"version":"1.3","net_instance_id":"a","endpoint_list":[{}]}' },
    ],
  ];
  test.each(cases)('%s: refuses %s', async (rule, _, options) => {
    const { dist, backend } = node(LLMRole.PROMPT, 1n, { fabric: new Fabric() });
    await expectRefusal(rule, backend, () => dist.init({ deviceId: 0, ...options }));
    expect(dist.isInitialized).toBe(false);
    await dist.init({ deviceId: 0, listenIpInfo: '127.0.0.1:26000' });
    await dist.finalize();
  });

  test.each<[string, LLMConfigOptions & Record<string, unknown>]>([
    ['a wait time with leading zeros', { 'llm.SyncKvCacheWaitTime': '0001000' }],
    ['the longest wait time', { syncKvTimeout: 2_147_483_647 }],
    ['brackets inside a string', { localCommRes: `{"version":"1.0","x":"${'['.repeat(100)}\\""}` }],
    ['an empty communication resource', { localCommRes: '' }],
    ['a resource configuration that the default backend does not read', { globalResourceConfig: 'xx' }],
    ['a pool', { memPoolCfg: '{"memory_size":1048576}' }],
  ])('lets through %s', async (_, options) => {
    const { dist } = node(LLMRole.PROMPT, 1n, { fabric: new Fabric() });
    await dist.init({ deviceId: 0, listenIpInfo: '127.0.0.1:26000', ...options });
    await dist.finalize();
  });

  test('leaves to the library what the library refuses itself, in its own order', async () => {
    const { dist } = node(LLMRole.PROMPT, 1n, { fabric: new Fabric() });
    const cases: [LLMConfigOptions, RegExp][] = [
      [{ deviceId: 0, listenIpInfo: 'localhost:1' }, /llm\.ListenIpInfo/],
      [{ deviceId: 0, transferBackend: 'hixl' }, /llm\.ListenIpInfo/],
      [{ deviceId: 0, transferBackend: 'hixl', listenIpInfo: 'x' }, /llm\.ListenIpInfo/],
      [{}, /llm\.DeviceId/],
    ];
    for (const [options, message] of cases) {
      const error = await rejection(dist.init(options));
      expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID' });
      expect(String(error)).toMatch(message);
      expect((error as LLMException).remedy).not.toMatch(/^Rule/);
    }
  });

  test('listen-port: switchRole refuses it too', async () => {
    const { prompt } = await pair();
    await expectRefusal('listen-port', prompt.backend, () =>
      prompt.dist.switchRole(LLMRole.MIX, { listenIpInfo: '127.0.0.1:0' }),
    );
    expect(prompt.dist.role).toBe(LLMRole.PROMPT);
  });

  test("a second init and a switchRole before init have the library's answers", async () => {
    const { prompt } = await pair();
    await prompt.dist.init({ deviceId: 0, listenIpInfo: '127.0.0.1:0' });
    const { dist } = node(LLMRole.PROMPT, 9n, { fabric: new Fabric() });
    const error = await rejection(dist.switchRole(LLMRole.MIX, { listenIpInfo: '127.0.0.1:0' }));
    expect(error).toMatchObject({ code: 'LLM_FAILED' });
  });
});

test('guards are silent before init: the library has one answer to everything', async () => {
  const { dist } = node(LLMRole.DECODER, 2n, { fabric: new Fabric() });
  const { kvCacheManager } = dist;
  const key = { clusterId: PROMPT_ID, cacheId: 1n };
  for (const call of [
    kvCacheManager.registerCache({ ...DESC, shape: [2n ** 32n] }, [1n]),
    kvCacheManager.pullBlocks(key, 1n, [2n ** 63n], [0], { srcLayerRange: [5, 1] }),
    kvCacheManager.pushCache(key, 1n, 0, { dstLayerRange: [5, 1] }),
  ]) {
    expect(await rejection(call)).toMatchObject({ code: 'LLM_FAILED' });
  }
});

test('with guards off the same values go to the library', async () => {
  const { decoder, decoderCache, promptCache } = await linkedPair({ guards: false });
  await decoder.dist.kvCacheManager.pullCache(promptCache.key(), decoderCache, 0, { srcLayerRange: [0, 1] });
  const error = await rejection(decoder.dist.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [4]));
  expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID' });
  expect((error as LLMException).remedy).not.toMatch(/^Rule/);
});

test('with guards off a record of texts goes to the library untouched, which ignores what it does not know', async () => {
  const options = { 'llm.DeviceId': '0', 'llm.listenIpInfo': 'junk', foo: 'x', '': 'y' };
  const bare = node(LLMRole.PROMPT, 1n, { fabric: new Fabric() }, { guards: false });
  await bare.dist.init(options);
  const guarded = node(LLMRole.PROMPT, 2n, { fabric: new Fabric() });
  expect(await rejection(guarded.dist.init(options))).toMatchObject({ code: 'LLM_PARAM_INVALID' });
  const typed = await rejection(bare.dist.switchRole(LLMRole.MIX, { deviceId: 0, foo: 'x' }));
  expect(String(typed)).toContain('foo');
});

describe('the source of a push', () => {
  test('is described by its registration, whatever the caller says', async () => {
    const { decoder, decoderCache, promptCache } = await linkedPair();
    const { cacheId, desc } = decoderCache;
    const lie = new DescribedCache(cacheId, { ...desc, numTensors: 2 }) as unknown as bigint;
    await decoder.dist.kvCacheManager.pushCache(promptCache.key(), lie);
    const pushed = await bytesOf(promptCache);
    const source = await bytesOf(decoderCache);
    for (let tensor = 0; tensor < 4; tensor++) {
      expect(pushed.subarray(tensor * 256, tensor * 256 + 64)).toEqual(
        source.subarray(tensor * 256, tensor * 256 + 64),
      );
    }
  });

  test('may be a bare id', async () => {
    const { decoder, decoderCache, promptCache } = await linkedPair();
    await decoder.dist.kvCacheManager.pushBlocks(promptCache.key(), decoderCache.cacheId, [1], [2]);
    expect((await bytesOf(promptCache)).subarray(128, 192)).toEqual((await bytesOf(decoderCache)).subarray(64, 128));
  });

  test('that is not registered is reported as unknown', async () => {
    const { decoder, promptCache } = await linkedPair();
    const error = await rejection(decoder.dist.kvCacheManager.pushCache(promptCache.key(), 99n));
    expect(error).toMatchObject({ code: 'LLM_KV_CACHE_NOT_EXIST' });
  });
});

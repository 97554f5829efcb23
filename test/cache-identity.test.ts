import { cacheKeyFromJSON, DataType, LLMDataDist, LLMException, LLMRole } from '../lib';
import type { CacheDesc, CacheKeyByIdAndIndex } from '../lib';
import { MockBackend } from '../lib/testing';
import { bytesOf, DESC, linkedPair, node, pair, PROMPT_CLUSTER, rejection } from './fixtures/cluster';

const LIFE = /^[0-9a-f]{32}$/;

describe('a life', () => {
  test('is new with each init that succeeds, and empty outside of it', async () => {
    const { dist } = node(LLMRole.PROMPT, 1n, {});
    expect(dist.life).toBe('');
    await rejection(dist.init({ deviceId: -1 }));
    expect(dist.life).toBe('');
    const lives: string[] = [];
    for (let i = 0; i < 3; i++) {
      await dist.init({ deviceId: 0, listenIpInfo: '127.0.0.1:26000' });
      lives.push(dist.life);
      await dist.init({ deviceId: 0 });
      await dist.switchRole(LLMRole.DECODER);
      expect(dist.life).toBe(lives[i]);
      await dist.finalize();
      expect(dist.life).toBe('');
    }
    for (const life of lives) expect(life).toMatch(LIFE);
    expect(new Set(lives).size).toBe(3);
  });

  test('is in the keys of the caches that were registered in it, also when it is over', async () => {
    const { prompt } = await pair();
    const { dist } = prompt;
    const first = dist.life;
    const cache = await dist.kvCacheManager.allocateCache(DESC);
    await dist.kvCacheManager.deallocateCache(cache);
    await dist.finalize();
    await dist.init({ deviceId: 0 });
    const second = await dist.kvCacheManager.allocateCache(DESC);
    expect(cache.key().life).toBe(first);
    expect(second.key()).toMatchObject({ cacheId: cache.cacheId, version: 1, life: dist.life });
    expect(dist.life).not.toBe(first);
  });
});

test('the version counts registrations that succeeded, whatever has become of the caches', async () => {
  const { prompt } = await pair();
  const { kvCacheManager } = prompt.dist;
  const one = await kvCacheManager.allocateCache(DESC);
  await kvCacheManager.deallocateCache(one);
  await rejection(kvCacheManager.registerCache(DESC, [1n]));
  const [two, three] = await Promise.all([kvCacheManager.allocateCache(DESC), kvCacheManager.allocateCache(DESC)]);
  expect([one, two, three].map((cache) => cache.key().version)).toEqual([1, 2, 3]);
});

describe('a fingerprint', () => {
  const fingerprint = async (desc: Partial<CacheDesc>) => {
    const { prompt } = await pair();
    const cache = await prompt.dist.kvCacheManager.allocateCache({ ...DESC, ...desc });
    await prompt.dist.kvCacheManager.deallocateCache(cache);
    return cache.key().fingerprint;
  };

  test.each<[string, Partial<CacheDesc>]>([
    ['3:16:2:', {}],
    ['3:16:2:', { numTensors: 8, shape: [9n, 16n], placement: 0, tensorsPerLayer: 2, tag: '' }],
    ['27:128,8,128:2:', { dataType: DataType.DT_BF16, shape: [2, 128, 8, 128] }],
    ['3::2:', { shape: [16] }],
    ['3:16:1:', { tensorsPerLayer: 1 }],
    ['3:16:255:llama 3: 头', { tensorsPerLayer: 255, tag: 'llama 3: 头' }],
  ])('is %j', async (text, desc) => {
    expect(await fingerprint(desc)).toBe(text);
    expect(cacheKeyFromJSON({ clusterId: '1', cacheId: '1', fingerprint: text }).fingerprint).toBe(text);
  });

  test('needs at least one tensor per layer', async () => {
    const { prompt } = await pair();
    const error = await rejection(prompt.dist.kvCacheManager.allocateCache({ ...DESC, tensorsPerLayer: 0 }));
    expect(error).toMatchObject({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' });
  });
});

test('a key carries its identity through JSON and a structured clone', async () => {
  const { prompt } = await pair();
  const cache = await prompt.dist.kvCacheManager.allocateCache({ ...DESC, tag: '"a"' });
  const key = cache.key(1);
  expect(key).toMatchObject({ life: prompt.dist.life, version: 1, fingerprint: '3:16:2:"a"' });
  const text = JSON.stringify(key);
  for (const copy of [structuredClone(key), cacheKeyFromJSON(text), { ...key }])
    expect({ ...copy }).toEqual({ ...key });
  const { life, version, fingerprint, layout, ...bare } = JSON.parse(text) as Record<string, unknown>;
  expect({ life, version, fingerprint }).toEqual({ life: key.life, version: 1, fingerprint: key.fingerprint });
  expect(Object.keys(cacheKeyFromJSON(bare))).toEqual(['clusterId', 'cacheId', 'batchIndex']);
  expect(layout).toBeDefined();
});

test.each<[string, CacheDesc, CacheDesc, string[]]>([
  [
    'the data type',
    { ...DESC, dataType: DataType.DT_FLOAT16 },
    { ...DESC, dataType: DataType.DT_BF16 },
    ['DT_FLOAT16', 'DT_BF16'],
  ],
  ['the order of dimensions', { ...DESC, shape: [4, 16, 2] }, { ...DESC, shape: [4, 2, 16] }, ['[16, 2]', '[2, 16]']],
  ['how rows divide', { ...DESC, shape: [4, 64, 8] }, { ...DESC, shape: [4, 128, 4] }, ['[64, 8]', '[128, 4]']],
  ['the row size', { ...DESC, shape: [4, 8] }, { ...DESC, shape: [4, 16] }, ['[8]', '[16]']],
  ['the tensors of a layer', { ...DESC, tensorsPerLayer: 1 }, DESC, ['1 tensors per layer', '2 tensors per layer']],
  ['the tag', { ...DESC, tag: 'llama' }, { ...DESC, tag: 'qwen' }, ['the tag "llama"', 'the tag "qwen"']],
  ['that there is a tag', { ...DESC, tag: 'llama' }, DESC, ['the tag "llama"', 'no tag']],
])('caches that differ in %s are not transferred, with or without a layout', async (what, theirs, ours, words) => {
  const { decoder, decoderCache, promptCache } = await linkedPair({}, {}, theirs, ours);
  const { kvCacheManager } = decoder.dist;
  const before = [await bytesOf(promptCache), await bytesOf(decoderCache)];
  const whole = promptCache.key();
  const { layout, ...bare } = whole;
  expect(layout).toBeDefined();
  for (const key of [whole, bare]) {
    const calls = [
      () => kvCacheManager.pullBlocks(key, decoderCache, [0], [0]),
      () => kvCacheManager.pushBlocks(key, decoderCache, [0], [0]),
      () => kvCacheManager.pullCache(key, decoderCache),
      () => kvCacheManager.pushCache(key, decoderCache),
      () => kvCacheManager.pullBlocks(key, decoderCache, [0], [0], { srcLayerRange: [0, 0], dstLayerRange: [1, 1] }),
    ];
    for (const call of calls) {
      const error = await rejection(call());
      expect(error).toBeInstanceOf(LLMException);
      expect((error as LLMException).remedy).toContain('Rule peer-layout');
      for (const word of words) expect((error as LLMException).message).toContain(word);
    }
  }
  expect([await bytesOf(promptCache), await bytesOf(decoderCache)]).toEqual(before);
  const { fingerprint, ...unknown } = bare;
  expect(fingerprint).toBeDefined();
  if (what !== 'the row size') await kvCacheManager.pullBlocks(unknown, decoderCache, [0], [0]);
});

describe('a key that was changed is read as it is now', () => {
  const changes: readonly [string, (key: Record<string, unknown>) => void, RegExp][] = [
    ['another cache', (key) => (key.cacheId = 99n), /LLM_KV_CACHE_NOT_EXIST/],
    ['another cluster', (key) => (key.clusterId = 99n), /LLM_NOT_YET_LINK/],
    ['a row that there is not', (key) => (key.batchIndex = 4), /peer-layout/],
    ['no number', (key) => (key.batchIndex = 'one'), /src\.batchIndex/],
    ['another fingerprint', (key) => (key.fingerprint = '1:2,3:2:'), /peer-layout/],
    ['what is no life', (key) => (key.life = 'mine'), /src\.life/],
    ['what is no version', (key) => (key.version = -1), /src\.version/],
    ['no layout', (key) => (key.layout = null), /src\.layout/],
    ['a smaller layout', (key) => (key.layout = { ...(key.layout as object), rows: 0 }), /peer-layout/],
    ['a misspelt name', (key) => (key.batchindex = 1), /batchindex/],
    ['a misspelt name in the layout', (key) => (key.layout = { ...(key.layout as object), rowbytes: 1n }), /rowbytes/],
  ];

  test.each(changes)('%s', async (_, change, refusal) => {
    const { decoder, promptCache, decoderCache } = await linkedPair();
    const key = promptCache.key();
    change(key as unknown as Record<string, unknown>);
    await expect(decoder.dist.kvCacheManager.pullCache(key, decoderCache)).rejects.toThrow(refusal);
  });

  test('and its layout cannot be changed in place', async () => {
    const { promptCache } = await linkedPair();
    const { layout } = promptCache.key();
    expect(() => Object.assign(layout!, { rows: 0 })).toThrow(TypeError);
    expect(() => Object.assign(layout!, { rowbytes: 1n })).toThrow(TypeError);
  });

  test('also where a part of it is gone', async () => {
    const { decoder, promptCache, decoderCache } = await linkedPair({ requireLife: true });
    const key = promptCache.key();
    Reflect.deleteProperty(key, 'life');
    await expect(decoder.dist.kvCacheManager.pullCache(key, decoderCache)).rejects.toThrow(/require-life/);
  });
});

test('parts of caches with one fingerprint are transferred: other numbers of tensors and rows', async () => {
  const { decoder, decoderCache, promptCache } = await linkedPair(
    {},
    {},
    { ...DESC, numTensors: 8, shape: [2, 16] },
    DESC,
  );
  const key = promptCache.key();
  const layers = { srcLayerRange: [2, 3], dstLayerRange: [0, 1] } as const;
  await decoder.dist.kvCacheManager.pullBlocks(key, decoderCache, [1], [3], layers);
  await decoder.dist.kvCacheManager.pullCache(key, decoderCache, 0, layers);
});

describe('the tensors of a layer', () => {
  const mla = { ...DESC, tensorsPerLayer: 1 };

  const spied = async () => {
    const nodes = await linkedPair({}, {}, mla, mla);
    const pull = jest.spyOn(MockBackend.prototype, 'pullKvBlocks');
    const last = () => pull.mock.calls.at(-1)?.[4].tensorNumPerLayer;
    return { ...nodes, last };
  };

  test('of the local cache are the default of its transfers', async () => {
    const { decoder, decoderCache, promptCache, last } = await spied();
    const { kvCacheManager } = decoder.dist;
    const key: CacheKeyByIdAndIndex = promptCache.key();
    for (const local of [decoderCache, decoderCache.cacheId]) {
      await kvCacheManager.pullBlocks(key, local, [0], [0]);
      expect(last()).toBe(1);
      await kvCacheManager.pullBlocks(key, local, [0], [0], { srcLayerRange: [3, 3], dstLayerRange: [0, 0] });
      expect(last()).toBe(1);
      await kvCacheManager.pullBlocks(key, local, [0], [0], { tensorNumPerLayer: 2 });
      expect(last()).toBe(2);
    }
    const source = (await bytesOf(promptCache)).subarray(3 * 256, 3 * 256 + 64);
    expect((await bytesOf(decoderCache)).subarray(0, 64)).not.toEqual(source);
    await kvCacheManager.pullCache(key, decoderCache, 0, { srcLayerRange: [3, 3], dstLayerRange: [0, 0] });
    expect((await bytesOf(decoderCache)).subarray(0, 64)).toEqual(source);
    await kvCacheManager.pushCache(key, decoderCache, 0, { srcLayerRange: [0, 0], dstLayerRange: [3, 3] });
  });
});

test('requireLife says which key it refuses', async () => {
  const { decoder, decoderCache } = await linkedPair({ requireLife: true, requireLayout: false });
  const error = await rejection(
    decoder.dist.kvCacheManager.pullBlocks({ clusterId: 1n, cacheId: 1n }, decoderCache, [0], [0]),
  );
  expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID', recovery: 'fix-input', clusterId: 1n, cacheId: 1n });
  expect(() => new LLMDataDist(LLMRole.PROMPT, 1n, { backend: 'mock', requireLife: 1 as never })).toThrow(TypeError);
});

test('a cluster that is linked or unlinked may have a life', async () => {
  const { decoder, prompt } = await pair();
  const cluster = { ...PROMPT_CLUSTER, life: prompt.dist.life };
  await decoder.dist.linkClusters([cluster]);
  await decoder.dist.unlinkClusters([cluster]);
});

import { cacheKeyFromJSON, DataType, LLMBackendError, LLMConfig, LLMDataDist, LLMException, LLMRole } from '../lib';
import { isMisspelling } from '../lib/nearest-name';
import { probeNative } from '../lib';
import { childHosts, describeBackend } from '../lib/conformance';
import { createFabric, createTcpFabric, Fabric, ManualClock, MockBackend, WireModel } from '../lib/testing';
import { bytesOf, DESC, linkedPair, PROMPT_CLUSTER, rejection } from './fixtures/cluster';

/** Names that no type has, as JavaScript passes them. */
const odd = (fields: object): never => fields as never;

/** What a call is refused with, whether it throws or rejects. */
async function refusal(make: () => unknown): Promise<Error & { code?: string }> {
  try {
    await make();
  } catch (error) {
    return error as Error;
  }
  throw new Error('it was not refused');
}

describe('a name that is not read is refused, and the nearest one is named', () => {
  type Cluster = Awaited<ReturnType<typeof linkedPair>>;
  type Call = (cluster: Cluster) => unknown;
  const caches = ({ decoder }: Cluster) => decoder.dist.kvCacheManager;
  const pull =
    (options: object): Call =>
    (cluster) =>
      caches(cluster).pullBlocks(cluster.promptCache.key(), cluster.decoderCache, [0], [0], odd(options));
  const layers = { srcLayerRange: [0, 0], dstLayerRange: [0, 0] };
  const peer = PROMPT_CLUSTER;
  const link =
    (info: object): Call =>
    ({ decoder }) =>
      decoder.dist.linkClusters([odd(info)]);
  const create = (options: object) => () => new LLMDataDist(LLMRole.PROMPT, 9n, odd(options));
  const allocate =
    (desc: object): Call =>
    (cluster) =>
      caches(cluster).allocateCache(odd({ ...DESC, ...desc }));
  const fromKey =
    (fields: object): Call =>
    (cluster) =>
      caches(cluster).pullBlocks(odd({ ...cluster.promptCache.key(), ...fields }), cluster.decoderCache, [0], [0]);

  test.each<[string, Call, wrong: string, nearest: string]>([
    ['pullBlocks', pull({ srcLayerRanges: [0, 0], dstLayerRange: [0, 0] }), 'srcLayerRanges', 'srcLayerRange'],
    ['pullBlocks, in Python', pull({ src_layer_range: [0, 0] }), 'src_layer_range', 'srcLayerRange'],
    ['pullBlocks, in Python', pull({ dst_layer_range: [0, 0] }), 'dst_layer_range', 'dstLayerRange'],
    ['pullBlocks, in Python', pull({ tensor_num_per_layer: 2 }), 'tensor_num_per_layer', 'tensorNumPerLayer'],
    ['pullBlocks, beside known ones', pull({ ...layers, layer: 0 }), 'layer', 'srcLayerRange'],
    ['pullBlocks, without a value', pull({ dstLayerrange: undefined }), 'dstLayerrange', 'dstLayerRange'],
    ['pullBlocks, one of every object', pull({ constructor: 1 }), 'constructor', ''],
    [
      'pushBlocks',
      (c) => caches(c).pushBlocks(c.promptCache.key(), c.decoderCache, [0], [0], odd({ srcLayerrange: [0, 0] })),
      'srcLayerrange',
      'srcLayerRange',
    ],
    [
      'pullCache',
      (c) => caches(c).pullCache(c.promptCache.key(), c.decoderCache, 0, odd({ sizes: 1 })),
      'sizes',
      'size',
    ],
    ['pushCache', (c) => caches(c).pushCache(c.promptCache.key(), c.decoderCache, 0, odd({ Size: 1 })), 'Size', 'size'],
    [
      'copyCache',
      (c) => caches(c).copyCache(c.decoderCache, c.decoderCache, odd({ src_batch_index: 1 })),
      'src_batch_index',
      'srcBatchIndex',
    ],
    ['linkClusters', ({ decoder }) => decoder.dist.linkClusters([peer], odd({ timeoutMs: 1 })), 'timeoutMs', 'timeout'],
    ['unlinkClusters', ({ decoder }) => decoder.dist.unlinkClusters([peer], odd({ Force: true })), 'Force', 'force'],
    ['a cluster', link({ ...peer, remote_cluster_id: 1n }), 'remote_cluster_id', 'remoteClusterId'],
    ['a cluster', link({ ...peer, remote_ip_info: [] }), 'remote_ip_info', 'remoteIpInfos'],
    ['a cluster', link({ ...peer, remote_role_type: 1 }), 'remote_role_type', 'remoteRole'],
    ['a cluster', link({ ...peer, local_ip_infos: [] }), 'local_ip_infos', 'localIpInfos'],
    ['an address', link({ ...peer, remoteIpInfos: [{ ip: '10.0.0.1', port: 1, Port: 2 }] }), 'Port', 'port'],
    ['an own address', link({ ...peer, localIpInfos: [{ ip: '10.0.0.1', Ip: '' }] }), 'Ip', 'ip'],
    ['allocateMemory', ({ decoder }) => decoder.dist.allocateMemory(1, odd({ placment: 0 })), 'placment', 'placement'],
    ['a cache', allocate({ num_tensors: 2 }), 'num_tensors', 'numTensors'],
    ['a cache', allocate({ data_type: 2 }), 'data_type', 'dataType'],
    ['a cache', allocate({ placements: 0 }), 'placements', 'placement'],
    ['a registration', (c) => caches(c).registerCache(odd({ ...DESC, Shape: [] }), [1n]), 'Shape', 'shape'],
    ['a key', fromKey({ batch_index: 1 }), 'batch_index', 'batchIndex'],
    ['a key', fromKey({ cluster_id: 1 }), 'cluster_id', 'clusterId'],
    ['a key', fromKey({ cache_id: 1 }), 'cache_id', 'cacheId'],
    ['a key', fromKey({ batchIndx: 1 }), 'batchIndx', 'batchIndex'],
    ['a key', fromKey({ Layout: undefined }), 'Layout', 'layout'],
    ['a layout', fromKey({ layout: { numTensors: 4, rows: 4, rowBytes: 64n, row_bytes: 1 } }), 'row_bytes', 'rowBytes'],
    ['a constructor', create({ backed: 'mock' }), 'backed', 'backend'],
    ['a constructor', create({ guard: false }), 'guard', 'guards'],
    ['a constructor', create({ require_layout: true }), 'require_layout', 'requireLayout'],
    ['probeNative', () => probeNative(odd({ limit: 5 })), 'limit', 'limitMs'],
    ['createFabric', () => createFabric(odd({ stict: true })), 'stict', 'strict'],
    ['createFabric, without a value', () => createFabric(odd({ stict: undefined })), 'stict', 'strict'],
    ['createTcpFabric', () => createTcpFabric(odd({ maxConnection: 5 })), 'maxConnection', 'maxConnections'],
    ['a network in memory', () => new Fabric(odd({ wires: 5 })), 'wires', 'wire'],
    ['a mock', () => new MockBackend(1n, LLMRole.PROMPT, odd({ deviceCounts: 5 })), 'deviceCounts', 'deviceCount'],
    ['a wire', () => new WireModel({}, odd({ clock: new ManualClock(), seeds: 5 })), 'seeds', 'seed'],
    ['a wire', () => createFabric({ wire: odd({ latency: 5 }) }), 'latency', 'latencyMs'],
    ['a way', () => createFabric({ wire: { between: [odd({ nodes: [1n, 2n], ports: 5 })] } }), 'ports', 'nodes'],
    ['a fault', () => createFabric().inject(odd({ op: 'pullBlocks', delay: 5 })), 'delay', 'delayMs'],
    ['childHosts', () => childHosts(odd({ backend: 'mock', processes: 'node', limit: 5 })), 'limit', 'limitMs'],
    [
      'describeBackend',
      () => {
        describeBackend('b', odd({ source: () => undefined, maxNode: 1 }), odd({ test, expect, describe }));
      },
      'maxNode',
      'maxNodes',
    ],
    ['an exception', () => new LLMException(1, odd({ operation: 'init', messages: 'x' })), 'messages', 'message'],
    ['an error of a backend', () => new LLMBackendError([], odd({ note: 'x' })), 'note', 'notes'],
  ])('%s', async (_, call, wrong, nearest) => {
    const cluster = await linkedPair();
    const before = await bytesOf(cluster.decoderCache);
    const error = await refusal(() => call(cluster));
    expect(error).toMatchObject({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' });
    expect(error.message).toContain(`has the unknown`);
    expect(error.message).toContain(`"${wrong}": the nearest is "${nearest}`);
    expect(await bytesOf(cluster.decoderCache)).toEqual(before);
    // The link stands, and nothing else has changed.
    await caches(cluster).pullBlocks(cluster.promptCache.key(), cluster.decoderCache, [0], [0], odd(layers));
  });
});

describe('the options of init', () => {
  const init = (options: object, guards = true) =>
    rejection(new LLMDataDist(LLMRole.PROMPT, 9n, { backend: createFabric().backend, guards }).init(odd(options)));

  test.each([
    ['a misspelt property', { deviceId: 0, listenIPInfo: 'x' }],
    ['a property without a value', { deviceId: 0, listenIPInfo: undefined }],
    ['a property in Python', { device_id: 0, listen_ip_info: 'x' }],
  ])('%s is refused', async (_, options) => {
    expect(await init(options)).toMatchObject({
      code: 'LLM_PARAM_INVALID',
      remedy: expect.stringMatching(/"(?:listenIpInfo|deviceId)"/) as string,
    });
  });

  test('without guards too, where only keys of the library pass as they are', async () => {
    expect(await init({ listenIPInfo: '10.0.0.1:26000', 'llm.DeviceId': '0' }, false)).toMatchObject({
      code: 'LLM_PARAM_INVALID',
      remedy: expect.stringContaining('"listenIpInfo"') as string,
    });
  });

  test('an assignment to a name that LLMConfig has not is found when the options are made', async () => {
    const config = new LLMConfig({ deviceId: 0 });
    Object.assign(config, { listen_ip_info: '10.0.0.1:26000' });
    for (const use of [() => init(config), () => Promise.resolve(refusal(() => config.generateOptions()))]) {
      expect(await use()).toMatchObject({
        code: 'LLM_PARAM_INVALID',
        remedy: expect.stringContaining('"listenIpInfo"') as string,
      });
    }
    expect(await refusal(() => new LLMConfig(config))).toMatchObject({ code: 'LLM_PARAM_INVALID' });
  });

  test('a class that extends LLMConfig may have fields', () => {
    class MyConfig extends LLMConfig {
      readonly name = 'mine';
    }
    expect(new MyConfig({ deviceId: 3 }).generateOptions()).toEqual({ 'llm.DeviceId': '3' });
  });
});

describe('what is taken', () => {
  test('options that a class gives by getters', async () => {
    class Layers {
      get srcLayerRange() {
        return [0, 0] as const;
      }
      get dstLayerRange() {
        return [0, 0] as const;
      }
    }
    const { decoder, promptCache, decoderCache } = await linkedPair();
    const before = await bytesOf(decoderCache);
    await decoder.dist.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [0], new Layers());
    const after = await bytesOf(decoderCache);
    // Two layers of two tensors: those of the second one have kept their bytes.
    expect(after.subarray(0, 64)).not.toEqual(before.subarray(0, 64));
    expect(after.subarray(after.length / 2)).toEqual(before.subarray(before.length / 2));
  });

  test('fields of a key that a newer version may have given it', async () => {
    const { decoder, promptCache, decoderCache } = await linkedPair();
    const { clusterId, cacheId, layout } = promptCache.key();
    const key = odd({ clusterId, cacheId, layout, compression: 'none', sparse: undefined });
    await decoder.dist.kvCacheManager.pullBlocks(key, decoderCache, [0], [0]);
    const json = { ...(JSON.parse(JSON.stringify(promptCache.key())) as object), compression: 'none' };
    expect(cacheKeyFromJSON(json)).toEqual(promptCache.key());
  });

  test('what the package itself has returned', async () => {
    const { decoder, promptCache, decoderCache } = await linkedPair();
    const { kvCacheManager } = decoder.dist;
    for (const key of [
      promptCache.key(),
      { ...promptCache.key() },
      structuredClone(promptCache.key()),
      cacheKeyFromJSON(JSON.stringify(promptCache.key())),
    ]) {
      await kvCacheManager.pullBlocks(key, decoderCache, [0], [0]);
    }
    const copy = await kvCacheManager.allocateCache(decoderCache.desc);
    expect(copy.desc).toEqual(decoderCache.desc);
    await kvCacheManager.allocateCache({ ...decoderCache.desc, dataType: DataType.DT_INT8 });
  });
});

describe('a copy of a handle is no bare id', () => {
  test.each<[string, (cache: object) => unknown]>([
    ['{ ...cache }', (cache) => ({ ...cache })],
    ['its id and description', ({ cacheId, desc }: { cacheId?: bigint; desc?: object }) => ({ cacheId, desc })],
    ['what JSON gives of it', (cache) => JSON.parse(JSON.stringify(cache)) as object],
    ['its toJSON()', (cache) => (cache as { toJSON: () => object }).toJSON()],
    ['a structured clone of its parts', ({ cacheId }: { cacheId?: bigint }) => structuredClone({ cacheId })],
    ['an object that inherits from it', (cache) => Object.create(cache) as object],
    ['its id as a text', ({ cacheId }: { cacheId?: bigint }) => String(cacheId)],
    ['its id as a boxed bigint', ({ cacheId }: { cacheId?: bigint }) => Object(cacheId) as object],
  ])('%s', async (_, copyOf) => {
    const { decoder, promptCache, decoderCache } = await linkedPair();
    const { kvCacheManager: caches } = decoder.dist;
    const key = promptCache.key();
    const before = [await bytesOf(promptCache), await bytesOf(decoderCache)];
    const copy = odd(copyOf(decoderCache) as object);
    for (const call of [
      () => caches.pullBlocks(key, copy, [0], [0]),
      () => caches.pullCache(key, copy),
      () => caches.pushBlocks(key, copy, [0], [0]),
      () => caches.pushCache(key, copy),
      () => caches.unregisterCache(copy),
      () => caches.deallocateCache(copy),
      () => caches.copyBlocks(copy, new Map()),
    ]) {
      expect(await rejection(call())).toMatchObject({
        name: 'TypeError',
        code: 'ERR_INVALID_ARG_TYPE',
        message: expect.stringContaining('the handle itself, not a copy') as string,
      });
    }
    expect([await bytesOf(promptCache), await bytesOf(decoderCache)]).toEqual(before);
    await caches.pullBlocks(key, decoderCache.cacheId, [0], [0]);
    await caches.pullBlocks(key, Number(decoderCache.cacheId), [0], [0]);
  });
});

describe('a cache handle in the place of a key', () => {
  type Cluster = Awaited<ReturnType<typeof linkedPair>>;
  const handleOf = ({ promptCache }: Cluster): object => promptCache;

  test.each<[string, (cache: object) => object]>([
    ['itself', (cache) => cache],
    ['{ ...cache }', (cache) => ({ ...cache })],
    ['its copy beside the id of the cluster', (cache) => ({ ...cache, clusterId: PROMPT_CLUSTER.remoteClusterId })],
    ['its structured clone', (cache) => structuredClone({ ...cache })],
    ['what JSON gives of it', (cache) => JSON.parse(JSON.stringify(cache)) as object],
    ['its toJSON()', (cache) => (cache as { toJSON: () => object }).toJSON()],
    ['an object that inherits from it', (cache) => Object.create(cache) as object],
    ['its addresses alone', () => ({ clusterId: 1n, cacheId: 1n, tensorAddrs: [] })],
  ])('%s is refused', async (_, copyOf) => {
    const cluster = await linkedPair();
    const { kvCacheManager: caches } = cluster.decoder.dist;
    const copy = copyOf(handleOf(cluster));
    const before = [await bytesOf(cluster.promptCache), await bytesOf(cluster.decoderCache)];
    const refused = {
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_TYPE',
      message: expect.stringContaining('a cache handle (or a copy of one), not a key: send cache.key()') as string,
    };
    const local = cluster.decoderCache;
    for (const call of [
      () => caches.pullBlocks(odd(copy), local, [0], [0]),
      () => caches.pullCache(odd(copy), local),
      () => caches.pushBlocks(odd(copy), local, [0], [0]),
      () => caches.pushCache(odd(copy), local),
      () => cacheKeyFromJSON(copy),
    ]) {
      expect(await refusal(call)).toMatchObject(refused);
    }
    expect([await bytesOf(cluster.promptCache), await bytesOf(cluster.decoderCache)]).toEqual(before);
  });

  test('as a text of JSON', async () => {
    const { promptCache } = await linkedPair();
    expect(() => cacheKeyFromJSON(JSON.stringify(promptCache))).toThrow('send cache.key()');
    expect(cacheKeyFromJSON(JSON.stringify(promptCache.key()))).toEqual(promptCache.key());
  });

  test('nor is a key a local cache', async () => {
    const { decoder, promptCache, decoderCache } = await linkedPair();
    const { kvCacheManager: caches } = decoder.dist;
    for (const key of [decoderCache.key(), { ...decoderCache.key() }, structuredClone(decoderCache.key())]) {
      expect(await rejection(caches.pullBlocks(promptCache.key(), odd(key), [0], [0]))).toMatchObject({
        name: 'TypeError',
        message: expect.stringContaining('the handle itself') as string,
      });
    }
  });
});

describe('an object of another kind in the place of options', () => {
  class Nothing {
    hello() {
      return this;
    }
  }
  const controller = () => new AbortController();
  const made: Readonly<Record<string, () => object>> = {
    'an aborted AbortSignal': () => AbortSignal.abort(),
    'an AbortSignal': () => controller().signal,
    'an AbortController': controller,
    'an EventTarget': () => new EventTarget(),
    'an Event': () => new Event('abort'),
    'a Request': () => new Request('http://localhost/'),
    'a Response': () => new Response(),
    Headers: () => new Headers(),
    'a URL': () => new URL('http://localhost/'),
    'a Map': () => new Map(),
    'a Set': () => new Set(),
    'a WeakRef': () => new WeakRef({}),
    'a Promise': () => Promise.resolve(),
    'a Date': () => new Date(),
    'a RegExp': () => /x/,
    'an Error': () => new Error('x'),
    'an ArrayBuffer': () => new ArrayBuffer(8),
    'a boxed number': () => Object(5) as object,
    'an LLMDataDist': () => new LLMDataDist(LLMRole.PROMPT, 77n, { backend: createFabric().backend }),
    'an instance without a known name': () => new Nothing(),
  };
  const signals = ['an aborted AbortSignal', 'an AbortSignal', 'an AbortController'];

  test.each(Object.keys(made))('%s is refused', async (kind) => {
    const cluster = await linkedPair();
    const { decoder, promptCache, decoderCache } = cluster;
    const { kvCacheManager: caches } = decoder.dist;
    const value = odd(made[kind]?.() ?? {});
    const before = await bytesOf(decoderCache);
    const key = promptCache.key();
    for (const call of [
      () => caches.pullBlocks(key, decoderCache, [0], [0], value),
      () => caches.pullCache(key, decoderCache, 0, value),
      () => caches.pushBlocks(key, decoderCache, [0], [0], value),
      () => caches.allocateCache(DESC, value),
      () => caches.unregisterCache(decoderCache, value),
      () => decoder.dist.allocateMemory(8, value),
      () => decoder.dist.linkClusters([PROMPT_CLUSTER], value),
      () => decoder.dist.unlinkClusters([PROMPT_CLUSTER], value),
      () => decoder.dist.finalize(value),
      () => decoderCache.readBlocks([0], value),
    ]) {
      const error = await refusal(call);
      expect(error).toMatchObject({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
      if (signals.includes(kind)) expect(error.message).toMatch(/give (?:it|its signal) as \{ signal \}/);
    }
    expect(await bytesOf(decoderCache)).toEqual(before);
    await caches.pullBlocks(key, decoderCache, [0], [0], { signal: controller().signal });
  });

  test('objects of this package are refused too', async () => {
    const { decoder, promptCache, decoderCache } = await linkedPair();
    const { kvCacheManager: caches } = decoder.dist;
    const region = await decoder.dist.allocateMemory(8);
    for (const value of [
      decoder.dist,
      caches,
      decoderCache,
      promptCache.key(),
      region,
      new LLMConfig({ deviceId: 0 }),
    ]) {
      const pull = caches.pullBlocks(promptCache.key(), decoderCache, [0], [0], odd(value));
      expect(await rejection(pull)).toMatchObject({ code: expect.stringMatching(/^ERR_/) as string });
    }
  });
});

describe('the names that a key of another process may not have', () => {
  const KEY = ['clusterId', 'cacheId', 'batchIndex', 'layout', 'life', 'version', 'fingerprint'];
  const LAYOUT = ['numTensors', 'rows', 'rowBytes'];
  const isLike = (typed: string, names: readonly string[]) => names.some((name) => isMisspelling(typed, name));

  test.each(
    [
      'live lief lfie lives lif ife liffe lyfe Life LIFE l_i_f_e',
      'ver vers version_ versoin verison Version versions verson',
      'layuot layou lay_out Layout layouts',
      'fingerPrint finger_print fingreprint finger fingerprints',
      'batch_index batchIdx batchInedx batch cluster_id clusterID clutserId cluster cache_id cacheID cahceId chacheId cache',
    ].flatMap((line) => line.split(' ')),
  )('%s', (typed) => {
    expect(isLike(typed, KEY)).toBe(true);
  });

  test.each('num_tensors numTensor tensors nunTensors num row rosw rowz row_bytes rowByte rowBytse'.split(' '))(
    '%s in a layout',
    (typed) => {
      expect(isLike(typed, LAYOUT)).toBe(true);
    },
  );

  // None of these is near enough to be one of them: a newer version may bring them.
  test.each(
    [
      'epoch shard shards host hosts rank ranks device deviceId layer layers tp pp dp lora loraId tag tags role model tenant',
      'compression sparse stride offset checksum format quantization dtype dataType region owner expires ttl created session',
      'revision node zone replica port address token scale head heads kind type size length blocks blockSize page pages',
    ].flatMap((line) => line.split(' ')),
  )('but %s', (typed) => {
    expect(isLike(typed, [...KEY, ...LAYOUT])).toBe(false);
  });

  test.each(['live', 'lief', 'lfie', 'lives', 'ver', 'versoin'])('%s, in a key and in its JSON', async (typed) => {
    const { decoder, promptCache, decoderCache } = await linkedPair();
    const { life, ...bare } = promptCache.key();
    const key = { ...bare, [typed]: life };
    const refused = {
      name: 'RangeError',
      message: expect.stringContaining(
        `"${typed}": the nearest is "${typed.startsWith('v') ? 'version' : 'life'}"`,
      ) as string,
    };
    const pull = decoder.dist.kvCacheManager.pullBlocks(odd(key), decoderCache, [0], [0]);
    expect(await rejection(pull)).toMatchObject(refused);
    const json = { ...(JSON.parse(JSON.stringify(promptCache.key())) as object), [typed]: life };
    expect(await refusal(() => cacheKeyFromJSON(json))).toMatchObject(refused);
  });
});

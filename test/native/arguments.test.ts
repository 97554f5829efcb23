import { DEFAULT_CACHE_DESC, DEFAULT_EXT_PARAM } from '../../lib';
import type { BackendCacheDesc, BackendOptions, Cache, CacheIndex, ClusterInfo, KvCacheExtParam } from '../../lib';
import { rejection } from '../fixtures/cluster';
import { libraryCalls, received, seam, standIn } from './fixtures/stand-in';
import type { StandInMethod } from './standin/control';

const MAX_UINT64 = 2n ** 64n - 1n;
const MAX_INT64 = 2n ** 63n - 1n;
const MIN_INT64 = -(2n ** 63n);
const MAX_UINT32 = 2 ** 32 - 1;
const MAX_INT32 = 2 ** 31 - 1;
const MIN_INT32 = -(2 ** 31);
/** The first number that a double would round. */
const ODD = 2n ** 53n + 1n;

const CLUSTER_IDS = [0n, 1n, ODD, MAX_INT64, MAX_INT64 + 1n, MAX_UINT64];
const CACHE_IDS = [MIN_INT64, -1n, 0n, ODD, MAX_INT64];
const INT32S = [MIN_INT32, -1, 0, 1, MAX_INT32];
const UINT32S = [0, 1, MAX_INT32, MAX_INT32 + 1, MAX_UINT32];

/** Texts that lose something where they cross as anything but UTF-8. */
const TEXTS = ['', ' ', 'llm', 'schlüssel', '键值缓存', 'кэш', '🚀', 'a"\\\n\t\u0001b', 'ä'.repeat(100_000)];

/** Lists as the journal writes them: 64-bit numbers in decimal. */
const decimals = (list: Iterable<bigint>): string[] => Array.from(list, String);

/** The method answers at once with success, so that arguments need not make sense. */
function answers(method: StandInMethod): void {
  standIn.set(method, { status: 0 });
}

/** The arguments of each call of the method. */
function argsOf(method: StandInMethod): Readonly<Record<string, unknown>>[] {
  return received(method).map(({ args }) => args);
}

describe('the constructor', () => {
  test.each(CLUSTER_IDS)('gets cluster id %s', async (clusterId) => {
    answers('UnregisterKvCache');
    await seam(clusterId, 1).unregisterKvCache(1n);
    expect(argsOf('LlmDataDist')).toEqual([{ cluster_id: String(clusterId), role: 1 }]);
  });

  test.each([...INT32S, 2, 3])('gets role %d', async (role) => {
    answers('UnregisterKvCache');
    await seam(1n, role).unregisterKvCache(1n);
    expect(argsOf('LlmDataDist')).toEqual([{ cluster_id: '1', role }]);
  });

  test('is called with the first call of the object, and once', async () => {
    answers('UnregisterKvCache');
    const backend = seam(1n, 1);
    expect(received('LlmDataDist')).toEqual([]);
    await Promise.all([backend.unregisterKvCache(1n), backend.unregisterKvCache(2n)]);
    expect(received('LlmDataDist')).toHaveLength(1);
  });
});

describe('options', () => {
  const texts: BackendOptions = Object.fromEntries(TEXTS.map((text, i) => [`llm.${i}.${text}`, text]));
  const many: BackendOptions = Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`llm.key${i}`, String(i)]));

  test.each([
    ['none', {}],
    ['texts of all kinds', texts],
    ['two thousand', many],
    ['an empty key', { '': 'value' }],
  ])('of Initialize: %s', async (_, options) => {
    answers('Initialize');
    await seam(1n, 1).initialize(options);
    expect(argsOf('Initialize')).toEqual([{ options }]);
  });

  test.each([
    ['none', {}],
    ['texts of all kinds', texts],
    ['two thousand', many],
  ])('of SetRole: %s', async (_, options) => {
    answers('SetRole');
    await seam(1n, 1).setRole(2, options);
    expect(argsOf('SetRole')).toEqual([{ role: 2, options }]);
  });

  test.each(INT32S)('go with role %d to SetRole', async (role) => {
    answers('SetRole');
    await seam(1n, 1).setRole(role, {});
    expect(argsOf('SetRole')).toEqual([{ role, options: {} }]);
  });

  test.each([
    ['a key', { 'llm.De\0viceId': '0' }, 'llm.De'],
    ['a value', { 'llm.DeviceId': '0', 'llm.ListenIpInfo': '127.0.0.1\0:26000' }, 'llm.ListenIpInfo'],
    ['the end of a value', { 'llm.DeviceId': '0\0' }, 'llm.DeviceId'],
  ])('with a NUL in %s are refused, and the library is not called', async (_, options, named) => {
    const backend = seam(1n, 1);
    for (const [operation, call] of [
      ['init', () => backend.initialize(options)],
      ['switchRole', () => backend.setRole(1, options)],
    ] as const) {
      const error = await rejection(call());
      expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID', operation });
      expect((error as Error).message).toContain(`the option "${named}" holds a NUL character`);
    }
    expect(libraryCalls()).toEqual([]);
  });
});

describe('clusters', () => {
  const address = (n: number) => ({ ip: `10.0.${n >> 8}.${n & 255}`, port: n % 65_536 });
  const cluster = (fields: Partial<ClusterInfo>): ClusterInfo => ({
    remoteClusterId: 1n,
    remoteRoleType: 0,
    localIpInfos: [],
    remoteIpInfos: [],
    ...fields,
  });
  const asReceived = (clusters: readonly ClusterInfo[]) =>
    clusters.map(({ remoteClusterId, remoteRoleType, localIpInfos, remoteIpInfos }) => ({
      remote_cluster_id: String(remoteClusterId),
      remote_role_type: remoteRoleType,
      local_ip_infos: localIpInfos,
      remote_ip_infos: remoteIpInfos,
    }));

  const CASES: [string, ClusterInfo[]][] = [
    ['none', []],
    ['one without addresses', [cluster({})]],
    ['ids at the ends of their range', CLUSTER_IDS.map((remoteClusterId) => cluster({ remoteClusterId }))],
    ['roles at the ends of their range', INT32S.map((remoteRoleType) => cluster({ remoteRoleType }))],
    [
      'ports at the ends of their range',
      [cluster({ remoteIpInfos: [0, 1, 32_768, 65_535].map((port) => ({ ip: '127.0.0.1', port })) })],
    ],
    ['addresses of all kinds', [cluster({ localIpInfos: TEXTS.map((ip, port) => ({ ip, port })) })]],
    ['one with 240 addresses', [cluster({ remoteIpInfos: Array.from({ length: 240 }, (_, n) => address(n)) })]],
    [
      '40 with several local and remote addresses each',
      Array.from({ length: 40 }, (_, i) =>
        cluster({
          remoteClusterId: BigInt(i) << 58n,
          remoteRoleType: i,
          localIpInfos: Array.from({ length: i % 4 }, (__, n) => address(1000 * i + n)),
          remoteIpInfos: Array.from({ length: 1 + (i % 5) }, (__, n) => address(1000 * i + 500 + n)),
        }),
      ),
    ],
  ];

  test.each(CASES)('of a link: %s', async (_, clusters) => {
    answers('LinkLlmClusters');
    await seam(1n, 1).linkLlmClusters(clusters, 3000);
    expect(argsOf('LinkLlmClusters')).toEqual([{ clusters: asReceived(clusters), timeout_in_millis: 3000 }]);
  });

  test.each(CASES)('of an unlink: %s', async (_, clusters) => {
    answers('UnlinkLlmClusters');
    await seam(1n, 1).unlinkLlmClusters(clusters, 3000, false);
    expect(argsOf('UnlinkLlmClusters')).toEqual([
      { clusters: asReceived(clusters), timeout_in_millis: 3000, force_flag: false },
    ]);
  });

  test.each(INT32S)('go with a timeout of %d, and by force or not', async (timeout) => {
    answers('LinkLlmClusters');
    answers('UnlinkLlmClusters');
    const backend = seam(1n, 1);
    await backend.linkLlmClusters([], timeout);
    await backend.unlinkLlmClusters([], timeout, true);
    await backend.unlinkLlmClusters([], timeout, false);
    const common = { clusters: [], timeout_in_millis: timeout };
    expect(argsOf('LinkLlmClusters')).toEqual([common]);
    expect(argsOf('UnlinkLlmClusters')).toEqual([
      { ...common, force_flag: true },
      { ...common, force_flag: false },
    ]);
  });

  test.each(['localIpInfos', 'remoteIpInfos'] as const)(
    'with a NUL in one of the %s are refused, and the library is not called',
    async (list) => {
      const backend = seam(1n, 1);
      const clusters = [cluster({}), cluster({ [list]: [address(1), { ip: '127.0.0.1\0', port: 1 }] })];
      for (const [operation, call] of [
        ['linkClusters', () => backend.linkLlmClusters(clusters, 3000)],
        ['unlinkClusters', () => backend.unlinkLlmClusters(clusters, 3000, false)],
      ] as const) {
        const error = await rejection(call());
        expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID', operation, results: [] });
        expect((error as Error).message).toContain('the address "127.0.0.1" holds a NUL character');
      }
      expect(libraryCalls()).toEqual([]);
    },
  );
});

const desc = (fields: Partial<BackendCacheDesc>): BackendCacheDesc => ({ ...DEFAULT_CACHE_DESC, ...fields });
const descAsReceived = ({ placement, numTensors, dataType, shape }: BackendCacheDesc) => ({
  placement,
  num_tensors: numTensors,
  data_type: dataType,
  shape: decimals(shape),
});

const DESCS: [string, BackendCacheDesc][] = [
  ['nothing', desc({})],
  ...UINT32S.map((n): [string, BackendCacheDesc] => [
    `placement and tensors ${n}`,
    desc({ placement: n, numTensors: n }),
  ]),
  ...INT32S.map((dataType): [string, BackendCacheDesc] => [`type ${dataType}`, desc({ dataType })]),
  ['dimensions at the ends of their range', desc({ shape: [MIN_INT64, -1n, 0n, ODD, MAX_INT64] })],
  ['a thousand dimensions', desc({ shape: Array.from({ length: 1000 }, (_, i) => BigInt(i)) })],
];

describe('a description of a cache', () => {
  test.each(DESCS)('reaches AllocateCache: %s', async (_, cacheDesc) => {
    answers('AllocateCache');
    const { tensorAddrs } = await seam(1n, 1).allocateCache(cacheDesc);
    expect(argsOf('AllocateCache')).toEqual([{ cache_desc: descAsReceived(cacheDesc) }]);
    expect(tensorAddrs).toEqual(new BigUint64Array(0));
  });

  test.each(DESCS)('reaches RegisterKvCache: %s', async (_, cacheDesc) => {
    answers('RegisterKvCache');
    await seam(1n, 1).registerKvCache(cacheDesc, new BigUint64Array(0));
    expect(argsOf('RegisterKvCache')).toEqual([{ cache_desc: descAsReceived(cacheDesc), addrs: [] }]);
  });
});

const LISTS: [string, BigUint64Array][] = [
  ['empty', new BigUint64Array(0)],
  ['the ends of the range', BigUint64Array.of(0n, MAX_UINT64, ODD, MAX_INT64, MAX_INT64 + 1n, 0n)],
  // Neither ascending nor without repetition, and every second one beyond what a double holds.
  [
    '100,000 elements',
    BigUint64Array.from({ length: 100_000 }, (_, i) => (BigInt(i) * 0x9e37_79b9_7f4a_7c15n) & MAX_UINT64),
  ],
];

test.each(LISTS)('addresses reach RegisterKvCache: %s', async (_, addrs) => {
  answers('RegisterKvCache');
  await seam(1n, 1).registerKvCache(desc({}), addrs);
  expect(argsOf('RegisterKvCache')).toEqual([{ cache_desc: descAsReceived(desc({})), addrs: decimals(addrs) }]);
});

test.each(CACHE_IDS)('cache id %s reaches UnregisterKvCache and DeallocateCache', async (cacheId) => {
  answers('UnregisterKvCache');
  answers('DeallocateCache');
  const backend = seam(1n, 1);
  await backend.unregisterKvCache(cacheId);
  await backend.deallocateCache(cacheId);
  expect(argsOf('UnregisterKvCache')).toEqual([{ cache_id: String(cacheId) }]);
  expect(argsOf('DeallocateCache')).toEqual([{ cache_id: String(cacheId) }]);
});

const cache = (fields: Partial<Cache>): Cache => ({
  cacheId: 7n,
  tensorAddrs: new BigUint64Array(0),
  desc: desc({}),
  ...fields,
});
const cacheAsReceived = ({ cacheId, tensorAddrs, desc: description }: Cache) => ({
  cache_id: String(cacheId),
  tensor_addrs: decimals(tensorAddrs),
  cache_desc: descAsReceived(description),
});

/** Local caches with everything that the struct holds. */
const CACHES: [string, Cache][] = [
  ['a bare one', cache({})],
  ...CACHE_IDS.map((cacheId): [string, Cache] => [`id ${cacheId}`, cache({ cacheId })]),
  [
    'a full one',
    cache({
      cacheId: ODD,
      tensorAddrs: BigUint64Array.of(MAX_UINT64, 0n, ODD),
      desc: desc({ placement: 0, numTensors: MAX_UINT32, dataType: 27, shape: [MAX_INT64, 16n, -1n] }),
    }),
  ],
];

describe('copies inside an instance', () => {
  test.each(CACHES)('of %s, as source and as destination, reach CopyKvCache', async (_, local) => {
    answers('CopyKvCache');
    const backend = seam(1n, 1);
    const other = cache({ cacheId: -5n, tensorAddrs: BigUint64Array.of(3n) });
    await backend.copyKvCache(local, other, 1, 2, 3n, 4n);
    await backend.copyKvCache(other, local, 1, 2, 3n, 4n);
    const [first, second] = argsOf('CopyKvCache');
    expect(first).toMatchObject({ src_cache: cacheAsReceived(local), dst_cache: cacheAsReceived(other) });
    expect(second).toMatchObject({ src_cache: cacheAsReceived(other), dst_cache: cacheAsReceived(local) });
  });

  test('of rows, offsets and sizes at the ends of their range', async () => {
    answers('CopyKvCache');
    const backend = seam(1n, 1);
    const numbers = [
      [0, MAX_UINT32, 0n, MIN_INT64],
      [MAX_UINT32, 0, MAX_UINT64, MAX_INT64],
      [1, 2, ODD, -1n],
    ] as const;
    for (const [src, dst, offset, size] of numbers)
      await backend.copyKvCache(cache({}), cache({}), src, dst, offset, size);
    expect(argsOf('CopyKvCache')).toEqual(
      numbers.map(([src, dst, offset, size]) => ({
        src_cache: cacheAsReceived(cache({})),
        dst_cache: cacheAsReceived(cache({})),
        src_batch_index: src,
        dst_batch_index: dst,
        offset: String(offset),
        size: String(size),
      })),
    );
  });

  test.each(LISTS)('of block lists reach CopyKvBlocks: %s', async (_, list) => {
    answers('CopyKvBlocks');
    const [, local] = CACHES.at(-1)!;
    const lists = [list, new BigUint64Array(0), BigUint64Array.of(1n), list.slice().reverse()];
    await seam(1n, 1).copyKvBlocks(local, cache({}), list, lists);
    expect(argsOf('CopyKvBlocks')).toEqual([
      {
        src_cache: cacheAsReceived(local),
        dst_cache: cacheAsReceived(cache({})),
        src_blocks: decimals(list),
        dst_blocks_list: lists.map(decimals),
      },
    ]);
  });
});

const INDEXES: CacheIndex[] = [
  ...CLUSTER_IDS.map((clusterId) => ({ clusterId, cacheId: 1n, batchIndex: 0 })),
  ...CACHE_IDS.map((cacheId) => ({ clusterId: 1n, cacheId, batchIndex: 0 })),
  ...UINT32S.map((batchIndex) => ({ clusterId: 1n, cacheId: 1n, batchIndex })),
];
const indexAsReceived = ({ clusterId, cacheId, batchIndex }: CacheIndex) => ({
  cluster_id: String(clusterId),
  cache_id: String(cacheId),
  batch_index: batchIndex,
});

const EXTS: KvCacheExtParam[] = [
  DEFAULT_EXT_PARAM,
  { srcLayerRange: [MIN_INT32, MAX_INT32], dstLayerRange: [0, 1], tensorNumPerLayer: 0 },
  { srcLayerRange: [2, 3], dstLayerRange: [MAX_INT32, MIN_INT32], tensorNumPerLayer: 255 },
];
const extAsReceived = ({ srcLayerRange, dstLayerRange, tensorNumPerLayer }: KvCacheExtParam) => ({
  src_layer_range: srcLayerRange,
  dst_layer_range: dstLayerRange,
  tensor_num_per_layer: tensorNumPerLayer,
});

const INDEX: CacheIndex = { clusterId: 3n, cacheId: 4n, batchIndex: 5 };
const SIZES = [MIN_INT64, -1n, 0n, ODD, MAX_INT64];

describe('transfers', () => {
  beforeEach(() => {
    for (const method of ['PullKvCache', 'PullKvBlocks', 'PushKvCache', 'PushKvBlocks'] as const) answers(method);
  });

  test('take remote caches at the ends of their range', async () => {
    const backend = seam(1n, 1);
    const list = BigUint64Array.of(1n);
    for (const index of INDEXES) {
      await backend.pullKvCache(index, cache({}), 0, -1n, DEFAULT_EXT_PARAM);
      await backend.pullKvBlocks(index, cache({}), list, list, DEFAULT_EXT_PARAM);
      await backend.pushKvCache(cache({}), index, 0, -1n, DEFAULT_EXT_PARAM);
      await backend.pushKvBlocks(cache({}), index, list, list, DEFAULT_EXT_PARAM);
    }
    const wanted = INDEXES.map(indexAsReceived);
    for (const method of ['PullKvCache', 'PullKvBlocks'] as const) {
      expect(argsOf(method).map((args) => args.src_cache_index)).toEqual(wanted);
    }
    for (const method of ['PushKvCache', 'PushKvBlocks'] as const) {
      expect(argsOf(method).map((args) => args.dst_cache_index)).toEqual(wanted);
    }
  });

  test('take layer ranges and numbers of tensors at the ends of their range', async () => {
    const backend = seam(1n, 1);
    const list = BigUint64Array.of(1n);
    for (const ext of EXTS) {
      await backend.pullKvCache(INDEX, cache({}), 0, -1n, ext);
      await backend.pullKvBlocks(INDEX, cache({}), list, list, ext);
      await backend.pushKvCache(cache({}), INDEX, 0, -1n, ext);
      await backend.pushKvBlocks(cache({}), INDEX, list, list, ext);
    }
    for (const method of ['PullKvCache', 'PullKvBlocks', 'PushKvCache', 'PushKvBlocks'] as const) {
      expect(argsOf(method).map((args) => args.ext_param)).toEqual(EXTS.map(extAsReceived));
    }
  });

  test('of rows take rows and sizes at the ends of their range', async () => {
    const backend = seam(1n, 1);
    for (const [i, size] of SIZES.entries()) {
      await backend.pullKvCache(INDEX, cache({}), UINT32S[i]!, size, DEFAULT_EXT_PARAM);
      await backend.pushKvCache(cache({}), INDEX, UINT32S[i]!, size, DEFAULT_EXT_PARAM);
    }
    expect(argsOf('PullKvCache').map(({ batch_index, size }) => [batch_index, size])).toEqual(
      SIZES.map((size, i) => [UINT32S[i], String(size)]),
    );
    expect(argsOf('PushKvCache').map(({ src_batch_index, size }) => [src_batch_index, size])).toEqual(
      SIZES.map((size, i) => [UINT32S[i], String(size)]),
    );
  });

  test.each(LISTS)('of blocks take lists, each its own: %s', async (_, list) => {
    const backend = seam(1n, 1);
    const reversed = list.slice().reverse();
    await backend.pullKvBlocks(INDEX, cache({}), list, reversed, DEFAULT_EXT_PARAM);
    await backend.pushKvBlocks(cache({}), INDEX, list, reversed, DEFAULT_EXT_PARAM);
    for (const method of ['PullKvBlocks', 'PushKvBlocks'] as const) {
      const [args] = argsOf(method);
      expect(args).toMatchObject({ src_blocks: decimals(list), dst_blocks: decimals(reversed) });
    }
  });

  test.each(CACHES)('that push take the whole source: %s', async (_, local) => {
    const backend = seam(1n, 1);
    const list = BigUint64Array.of(1n);
    await backend.pushKvCache(local, INDEX, 0, -1n, DEFAULT_EXT_PARAM);
    await backend.pushKvBlocks(local, INDEX, list, list, DEFAULT_EXT_PARAM);
    for (const method of ['PushKvCache', 'PushKvBlocks'] as const) {
      expect(argsOf(method).map((args) => args.src_cache)).toEqual([cacheAsReceived(local)]);
    }
  });

  test.each(CACHES)(
    'that pull take the id of the destination, which is all that the library reads: %s',
    async (_, local) => {
      const backend = seam(1n, 1);
      const list = BigUint64Array.of(1n);
      await backend.pullKvCache(INDEX, local, 0, -1n, DEFAULT_EXT_PARAM);
      await backend.pullKvBlocks(INDEX, local, list, list, DEFAULT_EXT_PARAM);
      for (const method of ['PullKvCache', 'PullKvBlocks'] as const) {
        expect(argsOf(method).map((args) => args.dst_cache)).toMatchObject([{ cache_id: String(local.cacheId) }]);
      }
    },
  );
});

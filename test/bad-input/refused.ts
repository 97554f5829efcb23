import { DataType, LLMRole, Placement } from '../../lib';
import type { CacheDesc, KvCacheManager, LLMClusterInfo } from '../../lib';
import { DECODER_CLUSTER, DESC, PROMPT_CLUSTER, PROMPT_ID, PROMPT_PORT } from '../fixtures/cluster';
import type { Nodes } from './nodes';
import { INVALID, MAX_INT32, MAX_INT64, MAX_UINT64, MIN_INT32, refused } from './refused-call';
import type { RefusedCall, Row } from './refused-call';
import { blockRows, key, rowRows } from './refused-transfers';

const NO_IPV4 = [
  ['an empty ip', ''],
  ['a host name', 'localhost'],
  ['an IPv6 address', '::1'],
  ['a mapped IPv4 address', '::ffff:127.0.0.1'],
  ['an ip with a NUL behind it', '127.0.0.1\u0000'],
  ['an ip with a NUL and more behind it', '127.0.0.1\u0000.example'],
  ['an ip with a blank before it', ' 127.0.0.1'],
  ['an ip with a line feed behind it', '127.0.0.1\n'],
  ['an ip of three parts', '127.0.1'],
  ['an ip of five parts', '127.0.0.0.1'],
  ['an ip above 255', '127.0.0.256'],
  ['an ip with a leading zero', '127.0.0.01'],
  ['an ip in hexadecimal', '0x7f.0.0.1'],
  ['an ip of other digits', '１２７.0.0.1'],
  ['a lone surrogate', '\ud800'],
  ['a very long ip', '1'.repeat(2 ** 20)],
  ['a very long ip of dots', '.'.repeat(2 ** 20)],
] as const;

/** Nobody listens on this port. */
const NOBODY = { remoteClusterId: 99n, remoteIpInfos: [{ ip: '127.0.0.1', port: 1 }] };

function clusterRows(name: 'linkClusters' | 'unlinkClusters', refusedCode: string): Row[] {
  const call =
    (clusters: readonly LLMClusterInfo[], options?: { timeout?: number }) =>
    ({ decoder }: Nodes) =>
      decoder.dist[name](clusters, options);
  return [
    ['no clusters', call([])],
    ['a timeout of 0', call([PROMPT_CLUSTER], { timeout: 0 })],
    ['a timeout of -1', call([PROMPT_CLUSTER], { timeout: -1 })],
    ['the smallest timeout', call([PROMPT_CLUSTER], { timeout: MIN_INT32 })],
    ...NO_IPV4.map(([what, ip]): Row => [what, call([{ ...NOBODY, remoteIpInfos: [{ ip, port: 26_000 }] }])]),
    ...NO_IPV4.map(([what, ip]): Row => [
      `${what} as a local one`,
      call([{ ...PROMPT_CLUSTER, localIpInfos: [{ ip }] }]),
    ]),
    [
      'a bad ip in the last of many',
      call([...Array<LLMClusterInfo>(999).fill(NOBODY), { ...NOBODY, remoteIpInfos: [{ ip: '', port: 1 }] }]),
    ],
    ['no remote ip', call([{ remoteClusterId: PROMPT_ID, remoteIpInfos: [] }])],
    [
      'two remote ips',
      call([{ ...NOBODY, remoteIpInfos: [...NOBODY.remoteIpInfos, ...PROMPT_CLUSTER.remoteIpInfos] }]),
    ],
    [
      '1,024 remote ips',
      call([{ ...NOBODY, remoteIpInfos: Array<{ ip: string; port: number }>(1024).fill({ ip: '1.2.3.4', port: 1 }) }]),
    ],
    ['a port where nobody listens, and the longest timeout', call([NOBODY], { timeout: MAX_INT32 }), refusedCode],
    ['port 0', call([{ ...NOBODY, remoteIpInfos: [{ ip: '127.0.0.1', port: 0 }] }]), refusedCode],
    [
      '1,000 clusters that nobody answers for',
      call(
        Array.from({ length: 1000 }, (_, i) => ({
          remoteClusterId: 1000 + i,
          remoteIpInfos: [{ ip: '127.0.0.1', port: 1 + i }],
        })),
      ),
      refusedCode,
    ],
  ];
}

const shapes: [string, CacheDesc['shape'], idsTaken: number][] = [
  ['no dimensions', [], 0],
  ['32 dimensions', Array<number>(32).fill(1), 0],
  ['a first dimension of 0', [0, 16], 1],
  ['a dimension of 0', [4, 0], 1],
  ['a negative dimension', [4, -1], 1],
  ['the smallest dimension', [4, -(2n ** 63n)], 1],
  ['more elements than int64 counts', [4, MAX_INT64], 1],
  ['more elements than uint64 counts', [2 ** 31, 2n ** 62n, 2n ** 62n], 1],
  ['more bytes than int64 counts', [1, 2n ** 62n], 1],
  ['rows beyond 32 bits', [2n ** 32n, 1], 0],
  ['the largest first dimension', [MAX_INT64], 0],
];

const types: [string, number][] = [
  ['DT_UNDEFINED', DataType.DT_UNDEFINED],
  ['DT_MAX', DataType.DT_MAX],
  ['a type that is not there', 5],
  ['type -1', -1],
  ['the largest type', MAX_INT32],
  ['the smallest type', MIN_INT32],
];

function registerRows(): Row[] {
  const register =
    (desc: Partial<CacheDesc>, addrs: (nodes: Nodes) => readonly (bigint | number)[] | BigUint64Array) =>
    (nodes: Nodes) =>
      nodes.decoder.dist.kvCacheManager.registerCache({ ...DESC, numTensors: 1, ...desc }, addrs(nodes));
  const inRegion = ({ region }: Nodes) => [region.address];
  return [
    ['no addresses', register({ numTensors: 0 }, () => [])],
    ['no addresses for a tensor', register({}, () => [])],
    ['fewer addresses than tensors', register({ numTensors: 2 }, inRegion)],
    ['more addresses than tensors', register({}, ({ region }) => [region.address, region.address + 256n])],
    ['4,294,967,295 tensors', register({ numTensors: 0xffff_ffff }, inRegion)],
    ['2^20 addresses', register({}, () => new BigUint64Array(2 ** 20).fill(4096n))],
    ['address 0', register({}, () => [0])],
    ['address 0 among others', register({ numTensors: 2 }, ({ region }) => [region.address, 0n])],
    ['an address of nobody', register({}, () => [4096]), 'LLM_FAILED', 1],
    ['the last address there is', register({}, () => [MAX_UINT64]), 'LLM_FAILED', 1],
    ['an address that is not a pointer of a user', register({}, () => [2n ** 63n]), 'LLM_FAILED', 1],
    ["the peer's memory", register({}, ({ promptCache }) => promptCache.tensorAddrs.slice(0, 1)), 'LLM_FAILED', 1],
    ['memory that is registered', register({}, ({ cache }) => cache.tensorAddrs.slice(0, 1))],
    ['a tensor that leaves its region', register({}, ({ region }) => [region.address + 1000n])],
    ['the same memory twice', register({ numTensors: 2 }, ({ region }) => [region.address, region.address])],
    ...shapes.map(([what, shape, taken]): Row => [what, register({ shape }, inRegion), INVALID, taken]),
    ...types.map(([what, dataType]): Row => [what, register({ dataType }, inRegion), INVALID, 1]),
  ];
}

function allocateRows(): Row[] {
  const allocate = (desc: Partial<CacheDesc>) => (nodes: Nodes) =>
    nodes.decoder.dist.kvCacheManager.allocateCache({ ...DESC, ...desc });
  return [
    ['no tensors', allocate({ numTensors: 0 })],
    ['4,294,967,295 tensors', allocate({ numTensors: 0xffff_ffff })],
    ...shapes.filter(([what]) => what !== '32 dimensions').map(([what, shape]): Row => [what, allocate({ shape })]),
    ['32 dimensions', allocate({ shape: Array<number>(32).fill(1) })],
    ...types.map(([what, dataType]): Row => [what, allocate({ dataType })]),
    ['a pebibyte', allocate({ shape: [1, 2n ** 50n], dataType: DataType.DT_INT8 }), 'LLM_DEVICE_OUT_OF_MEMORY'],
    [
      'a pebibyte on the host',
      allocate({ shape: [1, 2n ** 50n], dataType: DataType.DT_INT8, placement: Placement.HOST }),
      'LLM_OUT_OF_MEMORY',
    ],
  ];
}

const copyCache = (options: Parameters<KvCacheManager['copyCache']>[2]) => (n: Nodes) =>
  n.decoder.dist.kvCacheManager.copyCache(n.cache, n.other, options);

/** Every call of this kind, by method. */
export const REFUSED: readonly RefusedCall[] = [
  ...refused('init', [
    ['an unknown option', ({ decoder }) => decoder.dist.init({ device: 0 } as never)],
    ['an own __proto__', ({ decoder }) => decoder.dist.init(JSON.parse('{"__proto__":"x"}') as never)],
    ['two spellings that contradict', ({ decoder }) => decoder.dist.init({ deviceId: 1, 'llm.DeviceId': '2' })],
    ['a text with a NUL', ({ decoder }) => decoder.dist.init({ 'llm.DeviceId': '0\u0000' })],
  ]),
  ...refused('switchRole', [
    ...[0, 4, -1, MAX_INT32, MIN_INT32].map((role): Row => [
      `role ${role}`,
      ({ decoder }) => decoder.dist.switchRole(role),
    ]),
    ['a link that exists', ({ decoder }) => decoder.dist.switchRole(LLMRole.MIX), 'LLM_EXIST_LINK'],
    [
      'a port beyond 16 bits',
      ({ decoder }) => decoder.dist.switchRole(LLMRole.MIX, { listenIpInfo: '127.0.0.1:65536' }),
    ],
    [
      'a host name to listen on',
      ({ decoder }) => decoder.dist.switchRole(LLMRole.MIX, { listenIpInfo: 'localhost:1' }),
    ],
    ['a text without a port', ({ decoder }) => decoder.dist.switchRole(LLMRole.MIX, { listenIpInfo: '127.0.0.1' })],
    ['an unknown option', ({ decoder }) => decoder.dist.switchRole(LLMRole.MIX, { listen: '127.0.0.1:1' })],
  ]),
  ...refused('linkClusters', [
    ...clusterRows('linkClusters', 'LLM_LINK_FAILED'),
    ['a peer that is linked', ({ decoder }) => decoder.dist.linkClusters([PROMPT_CLUSTER]), 'LLM_ALREADY_LINK'],
    ['itself', ({ decoder }) => decoder.dist.linkClusters([DECODER_CLUSTER]), 'LLM_TIMEOUT'],
  ]),
  ...refused('unlinkClusters', [
    ...clusterRows('unlinkClusters', 'LLM_UNLINK_FAILED'),
    [
      'a linked peer where nobody listens',
      ({ decoder }) => decoder.dist.unlinkClusters([{ ...NOBODY, remoteClusterId: PROMPT_ID }]),
      'LLM_UNLINK_FAILED',
    ],
    [
      'a peer at an address that is not its own',
      ({ decoder }) =>
        decoder.dist.unlinkClusters([{ ...PROMPT_CLUSTER, remoteIpInfos: [{ ip: '127.0.0.2', port: PROMPT_PORT }] }]),
      'LLM_UNLINK_FAILED',
    ],
  ]),
  ...refused('allocateMemory', [
    ['0 bytes', ({ decoder }) => decoder.dist.allocateMemory(0)],
    ...[2n ** 53n, 2n ** 60n, MAX_UINT64].flatMap((bytes): Row[] => [
      [`${bytes} bytes`, ({ decoder }) => decoder.dist.allocateMemory(bytes), 'LLM_DEVICE_OUT_OF_MEMORY'],
      [
        `${bytes} bytes on the host`,
        ({ decoder }) => decoder.dist.allocateMemory(bytes, { placement: Placement.HOST }),
        'LLM_OUT_OF_MEMORY',
      ],
    ]),
  ]),
  ...refused('registerCache', registerRows()),
  ...refused('unregisterCache', [
    ["the peer's handle", ({ decoder, promptCache }) => decoder.dist.kvCacheManager.unregisterCache(promptCache)],
  ]),
  ...refused('allocateCache', allocateRows()),
  ...refused('deallocateCache', [
    ["the peer's handle", ({ decoder, promptCache }) => decoder.dist.kvCacheManager.deallocateCache(promptCache)],
  ]),
  ...refused('pullCache', rowRows('pullCache')),
  ...refused('pullBlocks', blockRows('pullBlocks')),
  ...refused('pushCache', [
    ...rowRows('pushCache'),
    ['host memory', (n) => n.decoder.dist.kvCacheManager.pushCache(key(n, {}), n.hostCache)],
  ]),
  ...refused('pushBlocks', [
    ...blockRows('pushBlocks'),
    ['host memory', (n) => n.decoder.dist.kvCacheManager.pushBlocks(key(n, {}), n.hostCache, [0], [0])],
  ]),
  ...refused('copyCache', [
    ...[0, -2, 65, MAX_INT64, -(2n ** 63n)].map((size): Row => [`a size of ${size}`, copyCache({ size })]),
    ...[64, MAX_UINT64].map((offset): Row => [`an offset of ${offset}`, copyCache({ offset })]),
    ['a part that ends behind the row', copyCache({ offset: 60, size: 5 })],
    ...[4, 0xffff_ffff].flatMap((row): Row[] => [
      [`source row ${row}`, copyCache({ srcBatchIndex: row })],
      [`destination row ${row}`, copyCache({ dstBatchIndex: row })],
    ]),
    ["the peer's handle to read", (n) => n.decoder.dist.kvCacheManager.copyCache(n.cache, n.promptCache)],
    ["the peer's handle to write", (n) => n.decoder.dist.kvCacheManager.copyCache(n.promptCache, n.cache)],
  ]),
  ...refused('copyBlocks', [
    ...[4, 0xffff_ffff].flatMap((block): Row[] => [
      [
        `source block ${block}`,
        (n) =>
          n.decoder.dist.kvCacheManager.copyBlocks(
            n.cache,
            new Map([
              [0, [1]],
              [block, [0]],
            ]),
          ),
      ],
      [
        `destination block ${block}`,
        (n) => n.decoder.dist.kvCacheManager.copyBlocks(n.cache, new Map([[0, [1, block]]])),
      ],
    ]),
    ["the peer's handle", (n) => n.decoder.dist.kvCacheManager.copyBlocks(n.promptCache, new Map([[0, [1]]]))],
  ]),
  ...refused('swapBlocks', [
    ...[4, 0xffff_ffff].flatMap((block): Row[] => [
      [
        `source block ${block}`,
        (n) =>
          n.decoder.dist.kvCacheManager.swapBlocks(
            n.cache,
            n.hostCache,
            new Map([
              [0, 0],
              [block, 0],
            ]),
          ),
      ],
      [
        `destination block ${block}`,
        (n) => n.decoder.dist.kvCacheManager.swapBlocks(n.cache, n.hostCache, new Map([[0, block]])),
      ],
    ]),
    [
      'device memory on both sides',
      (n) => n.decoder.dist.kvCacheManager.swapBlocks(n.cache, n.other, new Map([[0, 0]])),
    ],
    [
      'one cache on both sides',
      (n) => n.decoder.dist.kvCacheManager.swapBlocks(n.hostCache, n.hostCache, new Map([[0, 1]])),
    ],
    [
      "the peer's handle",
      (n) => n.decoder.dist.kvCacheManager.swapBlocks(n.hostCache, n.promptCache, new Map([[0, 0]])),
    ],
  ]),
];

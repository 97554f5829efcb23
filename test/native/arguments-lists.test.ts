import { createHash } from 'node:crypto';
import { DataType, LLMRole, Placement } from '../../lib';
import type { Backend, BlockList, Cache, CacheDesc, KvCacheManager } from '../../lib';
import { rejection } from '../fixtures/cluster';
import { instance, libraryCalls, received, seam, standIn } from './fixtures/stand-in';
import type { StandInMethod } from './standin/control';

const KEY = { clusterId: 1n, cacheId: 2n };
const DESC: CacheDesc = { numTensors: 1, dataType: DataType.DT_INT8, shape: [1] };

/** A bare id as the local cache: without guards it goes to the library, as blocks do that no cache has. */
const LOCAL = 3n;

type Lists = readonly [sources: BlockList, destinations: BlockList];

const TRANSFERS: readonly [
  StandInMethod,
  (caches: KvCacheManager, ...lists: [sources: BlockList, destinations: BlockList]) => Promise<void>,
][] = [
  ['PullKvBlocks', (caches, sources, destinations) => caches.pullBlocks(KEY, LOCAL, sources, destinations)],
  ['PushKvBlocks', (caches, sources, destinations) => caches.pushBlocks(KEY, LOCAL, sources, destinations)],
];

async function manager(): Promise<KvCacheManager> {
  const dist = instance(LLMRole.MIX, 9n, { guards: false });
  await dist.init({ deviceId: 0 });
  return dist.kvCacheManager;
}

/** A list of numbers in decimal; a long one as something that compares, and prints, in no time. */
function shown(list: unknown): unknown {
  const decimals = Array.from<unknown, string>(list as ArrayLike<unknown>, String);
  if (decimals.length <= 100) return decimals;
  return { length: decimals.length, sha256: createHash('sha256').update(decimals.join()).digest('hex') };
}

/** The lists of the calls of a method. */
function listsOf(method: StandInMethod): unknown[] {
  return received(method).map(({ args }) => [shown(args.src_blocks), shown(args.dst_blocks)]);
}

const BLOCKS = Array.from({ length: 100_000 }, (_, i) => (i * 40_503) % 0xffff_fffb);

const KINDS: [string, Lists][] = [
  ['Array of number', [BLOCKS, [0, Number.MAX_SAFE_INTEGER]]],
  ['Array of bigint', [BLOCKS.map(BigInt), [0n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n]]],
  ['Uint32Array', [Uint32Array.from(BLOCKS), Uint32Array.of(0, 2 ** 32 - 1)]],
  ['BigUint64Array', [BigUint64Array.from(BLOCKS, BigInt), BigUint64Array.of(2n ** 64n - 1n, 2n ** 53n + 1n)]],
  ['part of a typed array', [Uint32Array.from(BLOCKS).subarray(7, 99), BigUint64Array.of(1n, 2n, 3n).subarray(1)]],
  [
    'shared memory',
    [new BigUint64Array(new SharedArrayBuffer(64)).fill(5n), new Uint32Array(new SharedArrayBuffer(8))],
  ],
  ['empty', [[], new Uint32Array(0)]],
];

describe.each(TRANSFERS)('the block lists of %s', (method, transfer) => {
  beforeEach(() => {
    standIn.set(method, { status: 0 });
  });

  test.each(KINDS)('arrive as they were given: %s', async (_, [sources, destinations]) => {
    await transfer(await manager(), sources, destinations);
    expect(listsOf(method)).toEqual([[shown(sources), shown(destinations)]]);
  });

  test.each(KINDS)('are what they were at the call: %s', async (_, lists) => {
    const caches = await manager();
    const wanted = lists.map(shown);
    // Of one peer or not, the first call holds up the second one before it comes to the library.
    standIn.set(method, { block: true, status: 0 });
    const first = transfer(caches, [], []);
    await standIn.waitEntered(method);
    const second = transfer(caches, ...lists);
    for (const list of lists) {
      if (Array.isArray(list)) list.fill(99n);
      else if (list instanceof BigUint64Array) list.fill(99n);
      else (list as Uint32Array).fill(99);
    }
    expect(received(method)).toHaveLength(1);
    standIn.release(method);
    await Promise.all([first, second]);
    expect(listsOf(method)).toEqual([[[], []], wanted]);
  });

  test('do not need their buffer after the call', async () => {
    const caches = await manager();
    const sources = BigUint64Array.from(BLOCKS, BigInt);
    const resizable = Reflect.construct(ArrayBuffer, [8, { maxByteLength: 8 }]) as ArrayBuffer;
    const destinations = new Uint32Array(resizable).fill(6);
    const called = transfer(caches, sources, destinations);
    structuredClone(sources.buffer, { transfer: [sources.buffer] });
    (resizable as unknown as { resize(length: number): void }).resize(0);
    expect([sources.length, destinations.length]).toEqual([0, 0]);
    await called;
    expect(listsOf(method)).toEqual([[shown(BLOCKS), ['6', '6']]]);
  });
});

describe('the addresses of a registration', () => {
  beforeEach(() => {
    standIn.set('RegisterKvCache', { status: 0 });
  });

  test.each<[string, bigint[] | number[] | BigUint64Array]>([
    ['Array of bigint', [1n, 2n ** 64n - 1n]],
    ['Array of number', [1, Number.MAX_SAFE_INTEGER]],
    ['BigUint64Array', BigUint64Array.of(2n ** 63n, 2n ** 53n + 1n)],
    ['as many as a cache can have', BigUint64Array.from({ length: 131_061 }, (_, i) => 2n ** 53n + BigInt(i))],
    ['none', []],
  ])('arrive as they were at the call: %s', async (_, addrs) => {
    const caches = await manager();
    const { length } = addrs;
    const wanted = shown(addrs);
    const registered = caches.registerCache({ ...DESC, numTensors: length }, addrs);
    if (addrs instanceof BigUint64Array) addrs.fill(99n);
    else addrs.splice(0);
    await registered;
    expect(received('RegisterKvCache').map(({ args }) => ({ ...args, addrs: shown(args.addrs) }))).toEqual([
      { cache_desc: { placement: 1, num_tensors: length, data_type: 2, shape: ['1'] }, addrs: wanted },
    ]);
  });
});

test('the lists of copyKvBlocks are copied before the call returns', async () => {
  const dist = instance(LLMRole.MIX, 9n);
  await dist.init({ deviceId: 0 });
  const cache = await dist.kvCacheManager.allocateCache({ ...DESC, shape: [8, 2] });
  const map = new Map([[0, [3, 4]]]);
  const copied = dist.kvCacheManager.copyBlocks(cache, map);
  map.clear();
  await copied;
  expect(received('aclrtMemcpy')).toHaveLength(2);
  await dist.kvCacheManager.deallocateCache(cache);
});

describe('the addon limits what the lists of a call hold in sum, and calls nothing beyond', () => {
  const cache: Cache = {
    cacheId: 1n,
    tensorAddrs: new BigUint64Array(0),
    desc: { numTensors: 0, dataType: 0, shape: [], placement: Placement.DEVICE },
  };
  const text = 'ä'.repeat(2 ** 20);
  const cluster = { remoteClusterId: 1n, remoteRoleType: 0, localIpInfos: [], remoteIpInfos: [{ ip: text, port: 1 }] };
  const copy = (count: number) => (backend: Backend) =>
    backend.copyKvBlocks(cache, cache, new BigUint64Array(count), Array(count).fill(new BigUint64Array(2 ** 20)));
  const options = (count: number) => (backend: Backend) =>
    backend.initialize(Object.fromEntries(Array.from({ length: count }, (_, i) => [`llm.${i}`, text])));

  test.each<[string, string, (backend: Backend) => Promise<unknown>]>([
    ['lists of blocks that share one array', '4194304 elements', copy(4)],
    ['65,536 of them', '4194304 elements', copy(65_536)],
    ['options that share one text', '67108864 bytes of text', options(32)],
    ['addresses that share one text', '67108864 bytes of text', (b) => b.linkLlmClusters(Array(33).fill(cluster), 1)],
    ['options that are too many', '4194304 elements', (b) => b.initialize(tooMany())],
  ])('%s', async (_, most, call) => {
    const error = await rejection(Promise.resolve().then(() => call(seam(1n, 1))));
    expect(error).toMatchObject({ name: 'RangeError', message: `the lists of a call may hold ${most} in all` });
    expect(libraryCalls()).toEqual([]);
  });

  /** Keys and values together. */
  const tooMany = () => Object.fromEntries(Array.from({ length: 2 ** 21 + 1 }, (_, i) => [String(i), '']));

  test('as many as TypeScript allows arrive', async () => {
    standIn.set('CopyKvBlocks', { status: 0 });
    standIn.set('Initialize', { status: 0 });
    const backend = seam(1n, 1);
    standIn.run('journal off');
    await copy(1)(backend);
    await options(31)(backend);
  });
});

import type { KvCacheManager } from '../../lib';
import { DECODER_ID, PROMPT_ID } from '../fixtures/cluster';
import type { Nodes } from './nodes';
import { INVALID, MAX_INT32, MAX_INT64, MAX_UINT64, MIN_INT32 } from './refused-call';
import type { Row } from './refused-call';

type Key = Parameters<KvCacheManager['pullBlocks']>[0];
type Local = Parameters<KvCacheManager['pullBlocks']>[1];
type Options = Parameters<KvCacheManager['pullBlocks']>[4];

/** What rows and blocks have in common: a transfer with a key and a local cache of one's choice. */
function transferRows(
  transfer: (nodes: Nodes, key: Partial<Key>, local?: Local, options?: Options) => Promise<void>,
  ownCluster: string,
): Row[] {
  return [
    ['a cluster that is not linked', (n) => transfer(n, { clusterId: 77 }), 'LLM_NOT_YET_LINK'],
    ['the largest cluster id', (n) => transfer(n, { clusterId: MAX_UINT64 }), 'LLM_NOT_YET_LINK'],
    ['its own cluster', (n) => transfer(n, { clusterId: DECODER_ID }), ownCluster],
    ...[99n, 0n, -1n, MAX_INT64, -(2n ** 63n)].map((cacheId): Row => [
      `remote cache ${cacheId}`,
      (n) => transfer(n, { cacheId }),
      'LLM_KV_CACHE_NOT_EXIST',
    ]),
    ...[99n, 0n, -1n, MAX_INT64, -(2n ** 63n)].map((cacheId): Row => [
      `local cache ${cacheId}`,
      (n) => transfer(n, {}, cacheId),
      'LLM_KV_CACHE_NOT_EXIST',
    ]),
    ["the peer's handle for a local cache", (n) => transfer(n, {}, n.promptCache)],
    ...(
      [
        ['a layer range of no layers', [1, 0]],
        ['a layer range below -1', [-2, -2]],
        ['half a default range', [-1, 0]],
        ['layers that no cache has', [MAX_INT32, MAX_INT32]],
        ['all layers that there can be', [0, MAX_INT32]],
        ['the smallest layers', [MIN_INT32, MIN_INT32]],
        ['layers behind the cache', [2, 2]],
      ] as const
    ).map(([what, range]): Row => [
      what,
      (n) => transfer(n, {}, undefined, { srcLayerRange: range, dstLayerRange: range }),
    ]),
    ['a source range alone', (n) => transfer(n, {}, undefined, { srcLayerRange: [0, 0] })],
    ['a destination range alone', (n) => transfer(n, {}, undefined, { dstLayerRange: [0, 0] })],
    ['0 tensors per layer', (n) => transfer(n, {}, undefined, { tensorNumPerLayer: 0 })],
    [
      '255 tensors per layer',
      (n) => transfer(n, {}, undefined, { srcLayerRange: [0, 0], dstLayerRange: [0, 0], tensorNumPerLayer: 255 }),
    ],
    ['a layout without tensors', (n) => transfer(n, { layout: { numTensors: 0, rows: 4, rowBytes: 64n } })],
    ['a layout without rows', (n) => transfer(n, { layout: { numTensors: 4, rows: 0, rowBytes: 64n } })],
    ['a layout of rows without bytes', (n) => transfer(n, { layout: { numTensors: 4, rows: 4, rowBytes: 0n } })],
    ['a layout of fewer tensors', (n) => transfer(n, { layout: { numTensors: 2, rows: 4, rowBytes: 64n } })],
  ];
}

export function key({ promptCache }: Nodes, change: Partial<Key>): Key {
  return { clusterId: PROMPT_ID, cacheId: promptCache.cacheId, ...change };
}

/** Pulls and pushes of rows that are refused. */
export function rowRows(name: 'pullCache' | 'pushCache'): Row[] {
  const transfer = (
    n: Nodes,
    change: Partial<Key>,
    local: Local = n.cache,
    options: Options & { size?: bigint | number } = {},
    row = 0,
  ) => n.decoder.dist.kvCacheManager[name](key(n, change), local, row, options);
  const sizes = name === 'pullCache' ? [0, -2, 65n, MAX_INT64, -(2n ** 63n)] : [0, 1, 64n, -2, MAX_INT64, -(2n ** 63n)];
  return [
    ...transferRows(transfer, name === 'pullCache' ? INVALID : 'LLM_NOT_YET_LINK'),
    ...sizes.map((size): Row => [`a size of ${size}`, (n) => transfer(n, {}, n.cache, { size })]),
    ...[4, 0xffff_ffff].flatMap((row): Row[] => [
      [`local row ${row}`, (n) => transfer(n, {}, n.cache, {}, row)],
      [`remote row ${row}`, (n) => transfer(n, { batchIndex: row })],
      [`remote row ${row}, by its layout`, (n) => transfer(n, n.promptCache.key(row))],
    ]),
  ];
}

/** Pulls and pushes of blocks that are refused. */
export function blockRows(name: 'pullBlocks' | 'pushBlocks'): Row[] {
  type List = Parameters<KvCacheManager['pullBlocks']>[2];
  const transfer = (
    n: Nodes,
    change: Partial<Key>,
    local: Local = n.cache,
    options: Options = {},
    src: List = [0],
    dst: List = [0],
  ) => n.decoder.dist.kvCacheManager[name](key(n, change), local, src, dst, options);
  const lists: [string, List, List][] = [
    ['no blocks', [], []],
    ['no source blocks', [], [0]],
    ['no destination blocks', new BigUint64Array(0), [0]],
    ['fewer source blocks', [0], [0, 1]],
    ['fewer destination blocks', [0, 1], Uint32Array.of(0)],
    ['a source block behind the cache', [4], [0]],
    ['a destination block behind the cache', [0], [4]],
    ['a run that ends behind the cache', [2, 3, 4], [1, 2, 3]],
    ['a run that ends behind the other cache', [1, 2, 3], [2, 3, 4]],
    ['blocks beyond 32 bits', [2 ** 32], [2 ** 32]],
    ['the largest signed block, and one more', [MAX_INT64, 0n], [0, 1]],
    ['the largest signed destination, and one more', [0, 1], [MAX_INT64, 0n]],
    ['the largest block', [MAX_UINT64], [0]],
    ['the largest destination', [0], [MAX_UINT64]],
    ['2^20 times the same block', new BigUint64Array(2 ** 20), new Uint32Array(2 ** 20)],
  ];
  // A push sends what fits, layer by layer, and the same block many times fits.
  const few = name === 'pullBlocks' ? lists : lists.slice(0, -1);
  return [
    ...transferRows(transfer, name === 'pullBlocks' ? INVALID : 'LLM_NOT_YET_LINK'),
    ['remote row 1', (n) => transfer(n, { batchIndex: 1 })],
    ...few.map(([what, src, dst]): Row => [what, (n) => transfer(n, {}, n.cache, {}, src, dst)]),
    ['a block that the layout does not have', (n) => transfer(n, n.promptCache.key(), n.cache, {}, [4], [4])],
  ];
}

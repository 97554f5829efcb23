import { LLMDataDist, LLMException, LLMRole } from '../../lib';
import type { BlockList, CacheKeyByIdAndIndex, KvCache, KvCacheManager } from '../../lib';
import { DESC, rejection } from '../fixtures/cluster';
import { endAfterTest, received, seam, standIn } from './fixtures/stand-in';

// Block lists are looked through by the thread that makes the call, in the shim, and not in TypeScript, which does it for
// other backends: nothing but who does it may differ.

/** Of each cache. */
const ROWS = 4n;
const MAX_UINT64 = 2n ** 64n - 1n;

interface Side {
  readonly caches: KvCacheManager;
  readonly cache: KvCache;
}

/** An instance with a cache of four blocks; `inShim` says who looks through its lists. */
async function side(clusterId: bigint, inShim: boolean): Promise<Side> {
  const backend = seam(clusterId, LLMRole.MIX);
  expect(backend.readsBlocksAtOnce).toBe(true);
  if (!inShim) Object.assign(backend, { readsBlocksAtOnce: false });
  const dist = new LLMDataDist(LLMRole.MIX, clusterId, { backend });
  await dist.init({ deviceId: Number(clusterId) });
  const caches = dist.kvCacheManager;
  const cache = await caches.allocateCache(DESC);
  endAfterTest(() => dist.finalize());
  return { caches, cache };
}

const bare: CacheKeyByIdAndIndex = { clusterId: 9n, cacheId: 5n };
const withRows = (rows: number): CacheKeyByIdAndIndex => ({
  ...bare,
  layout: { numTensors: DESC.numTensors, rows, rowBytes: 64n },
});

const TRANSFERS = {
  PullKvBlocks: (
    caches: KvCacheManager,
    key: CacheKeyByIdAndIndex,
    cache: KvCache,
    local: BlockList,
    remote: BlockList,
  ) => caches.pullBlocks(key, cache, remote, local),
  PushKvBlocks: (
    caches: KvCacheManager,
    key: CacheKeyByIdAndIndex,
    cache: KvCache,
    local: BlockList,
    remote: BlockList,
  ) => caches.pushBlocks(key, cache, local, remote),
} as const;

const REFUSED: [string, CacheKeyByIdAndIndex, local: bigint[], remote: bigint[]][] = [
  ['a local block behind the last one', bare, [ROWS], [0n]],
  ['one in the middle of the list', bare, [0n, 1n, ROWS + 3n, 2n], [0n, 1n, 2n, 3n]],
  ['the largest local block', bare, [MAX_UINT64], [0n]],
  ['a local block of 2^32', bare, [2n ** 32n], [0n]],
  ['a remote block of 2^32', bare, [0n], [2n ** 32n]],
  ['the largest remote block', bare, [0n, 1n], [0n, MAX_UINT64]],
  ['a remote block that the layout does not have', withRows(7), [0n], [7n]],
  ['the first block of a layout without any', withRows(0), [0n], [0n]],
  ['blocks on both sides', withRows(7), [ROWS], [7n]],
  ['more remote blocks than local ones, one of them wrong', bare, [0n], [0n, 2n ** 40n]],
];

describe.each(['PullKvBlocks', 'PushKvBlocks'] as const)('%s', (method) => {
  const transfer = TRANSFERS[method];

  test.each(REFUSED)('is refused for %s, in the words of TypeScript, and never gets to the library', async (...row) => {
    const [, key, local, remote] = row;
    const refusals: LLMException[] = [];
    for (const inShim of [true, false]) {
      const { caches, cache } = await side(inShim ? 1n : 2n, inShim);
      for (const kind of [(list: bigint[]) => list, (list: bigint[]) => BigUint64Array.from(list)]) {
        const error = await rejection(transfer(caches, key, cache, kind(local), kind(remote)));
        expect(error).toBeInstanceOf(LLMException);
        refusals.push(error as LLMException);
      }
    }
    const [first] = refusals.map((error) => error.toJSON());
    expect(first).toMatchObject({ code: 'LLM_PARAM_INVALID', recovery: 'fix-input' });
    expect(first?.remedy).toMatch(/^Rule (local-block|block-number|peer-layout): /);
    for (const refusal of refusals) expect(refusal.toJSON()).toEqual(first);
    expect(received(method)).toEqual([]);
  });

  test.each<[string, CacheKeyByIdAndIndex, local: bigint[], remote: bigint[]]>([
    ['the last local block, and the last there may be on the other side', bare, [ROWS - 1n], [2n ** 32n - 1n]],
    ['the last block of the layout', withRows(7), [0n, ROWS - 1n], [6n, 0n]],
    ['no blocks at all, with a layout without any', withRows(0), [], []],
  ])('gets to the library with %s', async (_, key, local, remote) => {
    standIn.set(method, { status: 0 });
    const { caches, cache } = await side(1n, true);
    await transfer(caches, key, cache, local, remote);
    expect(received(method)).toHaveLength(1);
  });

  test('is refused for what the list held at the call, though it holds something else now', async () => {
    const { caches, cache } = await side(1n, true);
    const local = BigUint64Array.of(0n, ROWS);
    const refused = rejection(transfer(caches, bare, cache, local, [0n, 1n]));
    local.fill(0n);
    const error = await refused;
    expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    expect((error as LLMException).message).toContain('a block number is too large for its cache');
    expect(received(method)).toEqual([]);
  });

  test('is not refused where there are no guards', async () => {
    standIn.set(method, { status: 0 });
    const backend = seam(3n, LLMRole.MIX);
    const dist = new LLMDataDist(LLMRole.MIX, 3n, { backend, guards: false });
    endAfterTest(() => dist.finalize());
    await dist.init({ deviceId: 3 });
    const cache = await dist.kvCacheManager.allocateCache(DESC);
    for (const [, key, local, remote] of REFUSED) await transfer(dist.kvCacheManager, key, cache, local, remote);
    expect(received(method)).toHaveLength(REFUSED.length);
  });
});

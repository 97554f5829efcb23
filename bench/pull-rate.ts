import type { CacheKeyByIdAndIndex } from '../lib';
import { Fabric } from '../lib/testing';
import { PlainCopy } from './block-copy';
import { blocksOf, startPair } from './node';
import type { Pair } from './node';
import { single } from './result';
import type { Result } from './result';
import { Ring } from './ring';
import { runRounds, timed } from './rounds';
import type { Contestant } from './rounds';
import type { Suite, SuiteOptions } from './suite';

const TENSORS = [1, 64];
const BLOCK_BYTES = [64, 4096];
const ROWS = 16;
const IN_FLIGHT = 64;
const GOAL = { kind: 'at least', bound: 100_000 } as const;
/** Larger pulls are held to no rate: 100,000 a second of 256 KiB each would be 26 GB/s, more than memory moves. */
const MAX_BYTES_OF_GOAL = 64 * 1024;

/** How many one-block pulls a second the public API does, guards on. */
export const pullRate: Suite = {
  name: 'pull-rate',
  title: 'One-block pulls a second through the public API, guards on',
  async run(options: SuiteOptions): Promise<Result[]> {
    const results: Result[] = [];
    for (const tensors of TENSORS) {
      for (const blockBytes of BLOCK_BYTES) results.push(...(await measureRate(tensors, blockBytes, options)));
    }
    return results;
  },
};

async function measureRate(tensors: number, blockBytes: number, options: SuiteOptions): Promise<Result[]> {
  const pair = await startPair(new Fabric(), blocksOf(blockBytes, ROWS, tensors));
  const whole = pair.remote.key();
  const bare = { clusterId: whole.clusterId, cacheId: whole.cacheId };
  const cases: { name: string; contestant: Contestant; held?: false }[] = [
    { name: 'one by one, key with layout', contestant: oneByOne(pair, whole) },
    { name: 'one by one, bare key', contestant: oneByOne(pair, bare) },
    { name: `${IN_FLIGHT} in flight, key with layout`, contestant: inFlight(pair, whole) },
    { name: `${IN_FLIGHT} in flight, bare key`, contestant: inFlight(pair, bare) },
    { name: 'the copies alone, TypedArray.set', contestant: copying(tensors, blockBytes), held: false },
  ];
  const samples = await runRounds(
    cases.map(({ contestant }) => contestant),
    options,
  );
  await pair.close();
  const goal = tensors * blockBytes <= MAX_BYTES_OF_GOAL ? GOAL : undefined;
  return cases.map(({ name, held }, i) =>
    single(
      pullRate.name,
      `${tensors} × ${blockBytes} B, ${name}`,
      'pulls/s',
      samples[i]?.map((ms) => 1000 / ms) ?? [],
      held === false ? undefined : goal,
    ),
  );
}

function oneByOne(pair: Pair, key: CacheKeyByIdAndIndex): Contestant {
  return (operations) => timed(() => pullSome(pair, key, 0, operations));
}

function inFlight(pair: Pair, key: CacheKeyByIdAndIndex): Contestant {
  return (operations) =>
    timed(async () => {
      const each = Math.floor(operations / IN_FLIGHT);
      const callers = Array.from({ length: IN_FLIGHT }, (_, i) =>
        pullSome(pair, key, i, each + (i < operations % IN_FLIGHT ? 1 : 0)),
      );
      await Promise.all(callers);
    });
}

/** One caller: it makes its block lists as it goes, as a scheduler does. */
async function pullSome(
  { puller, local }: Pair,
  key: CacheKeyByIdAndIndex,
  start: number,
  count: number,
): Promise<void> {
  const manager = puller.dist.kvCacheManager;
  for (let i = start; i < start + count; i++) await manager.pullBlocks(key, local, [i % ROWS], [(i + 1) % ROWS]);
}

function copying(tensors: number, blockBytes: number): Contestant {
  const plain = new PlainCopy(blockBytes, ROWS, tensors);
  const lists = Array.from({ length: ROWS }, (_, i) => ({
    src: BigUint64Array.of(BigInt(i)),
    dst: BigUint64Array.of(BigInt((i + 1) % ROWS)),
  }));
  const blocks = new Ring(lists);
  return (operations) =>
    timed(() => {
      for (let i = 0; i < operations; i++) plain.copy(blocks.next());
    });
}

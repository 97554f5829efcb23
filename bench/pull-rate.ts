import type { CacheKeyByIdAndIndex } from '../lib';
import { Fabric } from '../lib/testing';
import { PlainCopy } from './block-copy';
import { IN_FLIGHT, inFlight, oneByOne } from './callers';
import type { AsyncCall } from './callers';
import type { Goal } from './goal';
import { blocksOf, onFabric, startPair } from './node';
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
const GOAL = { kind: 'at least', bound: 100_000 } as const;
/** Each waits for a turn of the event loop, which calls that are in flight at a time share. */
const GOAL_ONE_BY_ONE = { kind: 'at least', bound: 50_000 } as const;
/** Larger pulls are held to no rate: 100,000 a second of 256 KiB each would be 26 GB/s, more than memory moves. */
const MAX_BYTES_OF_GOAL = 64 * 1024;

/** How many one-block pulls a second the public API does, guards on. */
export const pullRate: Suite = {
  name: 'pull-rate',
  title: 'One-block pulls a second through the public API, guards on, on the mock',
  backend: 'mock',
  async run(options: SuiteOptions): Promise<Result[]> {
    const results: Result[] = [];
    for (const tensors of TENSORS) {
      for (const blockBytes of BLOCK_BYTES) results.push(...(await measureRate(tensors, blockBytes, options)));
    }
    return results;
  },
};

async function measureRate(tensors: number, blockBytes: number, options: SuiteOptions): Promise<Result[]> {
  const pair = await startPair(onFabric(new Fabric()), blocksOf(blockBytes, ROWS, tensors));
  const whole = pair.remote.key();
  const bare = { clusterId: whole.clusterId, cacheId: whole.cacheId };
  const cases: { name: string; contestant: Contestant; goal?: Goal }[] = [
    { name: 'one by one, key with layout', contestant: oneByOne(pulling(pair, whole)), goal: GOAL_ONE_BY_ONE },
    { name: 'one by one, bare key', contestant: oneByOne(pulling(pair, bare)), goal: GOAL_ONE_BY_ONE },
    { name: `${IN_FLIGHT} in flight, key with layout`, contestant: inFlight(pulling(pair, whole)), goal: GOAL },
    { name: `${IN_FLIGHT} in flight, bare key`, contestant: inFlight(pulling(pair, bare)), goal: GOAL },
    { name: 'the copies alone, TypedArray.set', contestant: copying(tensors, blockBytes) },
  ];
  const samples = await runRounds(
    cases.map(({ contestant }) => contestant),
    options,
  );
  await pair.close();
  const isHeld = tensors * blockBytes <= MAX_BYTES_OF_GOAL;
  return cases.map(({ name, goal }, i) =>
    single(
      pullRate.name,
      `${tensors} × ${blockBytes} B, ${name}`,
      'pulls/s',
      samples[i]?.map((ms) => 1000 / ms) ?? [],
      isHeld ? goal : undefined,
    ),
  );
}

/** It makes its block lists as it goes, as a scheduler does. */
function pulling({ puller, local }: Pair, key: CacheKeyByIdAndIndex): AsyncCall {
  const manager = puller.dist.kvCacheManager;
  return (i) => manager.pullBlocks(key, local, [i % ROWS], [(i + 1) % ROWS]);
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

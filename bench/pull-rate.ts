import type { CacheKeyByIdAndIndex } from '../lib';
import { Fabric } from '../lib/testing';
import { blocksOf, startPair } from './node';
import type { Pair } from './node';
import { single } from './result';
import type { Result } from './result';
import { runRounds, timed } from './rounds';
import type { Contestant } from './rounds';
import type { Suite, SuiteOptions } from './suite';

const TENSORS = [1, 64];
const BLOCK_BYTES = [64, 4096];
const ROWS = 64;
const IN_FLIGHT = 64;
const GOAL = { kind: 'at least', bound: 100_000 } as const;

/** How many one-block pulls a second the public API does, guards on. */
export const pullRate: Suite = {
  name: 'pull-rate',
  title: 'One-block pulls a second through the public API, guards on',
  async run(options: SuiteOptions): Promise<Result[]> {
    const results: Result[] = [];
    for (const tensors of TENSORS) {
      for (const blockBytes of BLOCK_BYTES) {
        const pair = await startPair(new Fabric(), blocksOf(blockBytes, ROWS, tensors));
        const cases = casesOf(pair);
        const samples = await runRounds(
          cases.map(({ contestant }) => contestant),
          options,
        );
        const what = `${blockBytes} B blocks, ${tensors} tensor${tensors === 1 ? '' : 's'}`;
        for (const [i, { name }] of cases.entries()) {
          const rates = samples[i]?.map((ms) => 1000 / ms) ?? [];
          results.push(single(this.name, `${what}, ${name}`, 'pulls/s', rates, GOAL));
        }
        await pair.close();
      }
    }
    return results;
  },
};

function casesOf(pair: Pair): { name: string; contestant: Contestant }[] {
  const { clusterId, cacheId, ...rest } = pair.remote.key();
  const bare = { clusterId, cacheId };
  return [
    { name: 'one by one, key with layout', contestant: oneByOne(pair, { ...bare, ...rest }) },
    { name: 'one by one, bare key', contestant: oneByOne(pair, bare) },
    { name: `${IN_FLIGHT} in flight, key with layout`, contestant: inFlight(pair, { ...bare, ...rest }) },
    { name: `${IN_FLIGHT} in flight, bare key`, contestant: inFlight(pair, bare) },
  ];
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

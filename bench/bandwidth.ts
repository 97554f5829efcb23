import { Fabric } from '../lib/testing';
import { PlainCopy, reversingLists } from './block-copy';
import type { BlockLists } from './block-copy';
import { checkReversed, fill } from './contents';
import { blocksOf, onFabric, startPair } from './node';
import type { Pair } from './node';
import { compared } from './result';
import type { Result } from './result';
import { Ring } from './ring';
import { runRounds, timed } from './rounds';
import type { Contestant } from './rounds';
import type { Suite, SuiteOptions } from './suite';

const KIB = 2 ** 10;
const MIB = 2 ** 20;
const TENSORS = 4;
const GOAL = { kind: 'at least', bound: 0.8 } as const;
/** Blocks from this size on are held to the goal: with smaller ones the calls count, not the bytes. */
const LARGE_BLOCK = 2 * MIB;

/** How large the blocks are, and how many of them one pull moves at a time. */
interface Case {
  readonly blockBytes: number;
  readonly blocksPerPull: readonly number[];
}

const CASES: readonly Case[] = [
  { blockBytes: 16 * KIB, blocksPerPull: [64] },
  { blockBytes: 2 * MIB, blocksPerPull: [1, 4] },
  { blockBytes: 4 * MIB, blocksPerPull: [1, 4] },
  { blockBytes: 16 * MIB, blocksPerPull: [1, 4] },
];

/** How many bytes a pull moves, next to what `TypedArray.set` moves over the same block lists in buffers of equal size. */
export const bandwidth: Suite = {
  name: 'bandwidth',
  title: `Pulls of scattered blocks, ${TENSORS} tensors, next to TypedArray.set over the same blocks, on the mock`,
  backend: 'mock',
  async run(options: SuiteOptions): Promise<Result[]> {
    const results: Result[] = [];
    for (const one of CASES) results.push(...(await measureBandwidth(one, options)));
    return results;
  },
};

export async function measureBandwidth(
  { blockBytes, blocksPerPull }: Case,
  options: SuiteOptions,
): Promise<readonly Result[]> {
  const most = Math.max(...blocksPerPull);
  // A multiple of what a pull moves, so that every block is moved.
  const rows = Math.ceil(options.workingSet / (TENSORS * blockBytes * most)) * most;
  const pair = await startPair(onFabric(new Fabric()), blocksOf(blockBytes, rows, TENSORS));
  const filled = { ...pair, blockBytes, rows };
  await fill(filled);
  const rival = new PlainCopy(blockBytes, rows, TENSORS);
  const results: Result[] = [];
  for (const blocks of blocksPerPull) {
    const lists = reversingLists(rows, blocks);
    const [pulls = [], copies = []] = await runRounds(
      [pulling(pair, new Ring(lists)), copying(rival, new Ring(lists))],
      options,
    );
    const rate = (ms: number): number => (blockBytes * blocks * TENSORS) / 1e6 / ms;
    results.push(
      compared(
        bandwidth.name,
        `${blocks} block${blocks === 1 ? '' : 's'} of ${sizeOf(blockBytes)} per pull`,
        'GB/s',
        pulls.map(rate),
        { name: 'TypedArray.set', samples: copies.map(rate) },
        blockBytes >= LARGE_BLOCK ? GOAL : undefined,
      ),
    );
    // Every list at least once more, however few of them the rounds had time for.
    for (const { src, dst } of lists) {
      await pair.puller.dist.kvCacheManager.pullBlocks(pair.remote.key(), pair.local, src, dst);
    }
    await checkReversed(filled);
  }
  await pair.close();
  return results;
}

function pulling({ puller, local, remote }: Pair, lists: Ring<BlockLists>): Contestant {
  const manager = puller.dist.kvCacheManager;
  const key = remote.key();
  return (operations) =>
    timed(async () => {
      for (let i = 0; i < operations; i++) {
        const { src, dst } = lists.next();
        await manager.pullBlocks(key, local, src, dst);
      }
    });
}

function copying(rival: PlainCopy, lists: Ring<BlockLists>): Contestant {
  return (operations) =>
    timed(() => {
      for (let i = 0; i < operations; i++) rival.copy(lists.next());
    });
}

function sizeOf(bytes: number): string {
  return bytes >= MIB ? `${bytes / MIB} MiB` : bytes >= KIB ? `${bytes / KIB} KiB` : `${bytes} B`;
}

import { Fabric } from '../lib/testing';
import { blocksOf, startPair } from './node';
import type { Pair } from './node';
import { compared } from './result';
import type { Result } from './result';
import { runRounds, timed } from './rounds';
import type { Suite, SuiteOptions } from './suite';

const MIB = 2 ** 20;
const BLOCK_BYTES = [2 * MIB, 4 * MIB, 16 * MIB];
const BLOCKS_PER_PULL = [1, 4];
const TENSORS = 4;
const GOAL = { kind: 'at least', bound: 0.8 } as const;

/** How many bytes a pull moves, next to what `TypedArray.set` moves over the same block lists in buffers of equal size. */
export const bandwidth: Suite = {
  name: 'bandwidth',
  title: `Pulls of large blocks, ${TENSORS} tensors, next to TypedArray.set over the same blocks`,
  async run(options: SuiteOptions): Promise<Result[]> {
    const results: Result[] = [];
    for (const blockBytes of BLOCK_BYTES) {
      const rows = Math.max(Math.ceil(options.workingSet / (TENSORS * blockBytes)), Math.max(...BLOCKS_PER_PULL));
      const pair = await startPair(new Fabric(), blocksOf(blockBytes, rows, TENSORS));
      await fill(pair, blockBytes, rows);
      const rival = new PlainBlocks(blockBytes, rows);
      for (const blocks of BLOCKS_PER_PULL) {
        const lists = blockLists(rows, blocks);
        const [pulls = [], sets = []] = await runRounds([pulling(pair, lists), setting(rival, lists)], options);
        const rate = (ms: number): number => (blockBytes * blocks * TENSORS) / 1e6 / ms;
        results.push(
          compared(
            this.name,
            `${blockBytes / MIB} MiB blocks, ${blocks} per pull`,
            'GB/s',
            pulls.map(rate),
            { name: 'TypedArray.set', samples: sets.map(rate) },
            GOAL,
          ),
        );
      }
      await checkMoved(pair, blockBytes, rows);
      await pair.close();
    }
    return results;
  },
};

interface Lists {
  readonly src: BigUint64Array;
  readonly dst: BigUint64Array;
}

/** All rows once, `blocks` at a time; destinations fall while sources rise, so that no two blocks make one copy. */
export function blockLists(rows: number, blocks: number): Lists[] {
  const lists: Lists[] = [];
  for (let first = 0; first + blocks <= rows; first += blocks) {
    const src = BigUint64Array.from({ length: blocks }, (_, i) => BigInt(first + i));
    lists.push({ src, dst: src.map((block) => BigInt(rows - 1) - block) });
  }
  return lists;
}

function pulling({ puller, local, remote }: Pair, lists: readonly Lists[]): (operations: number) => Promise<number> {
  const manager = puller.dist.kvCacheManager;
  const key = remote.key();
  let next = 0;
  return (operations) =>
    timed(async () => {
      for (let i = 0; i < operations; i++) {
        const list = lists[next++ % lists.length];
        if (list !== undefined) await manager.pullBlocks(key, local, list.src, list.dst);
      }
    });
}

/** Buffers of the size of the caches, and the copy that a program without this package would write. */
class PlainBlocks {
  readonly #src: Uint8Array[];
  readonly #dst: Uint8Array[];

  constructor(
    readonly blockBytes: number,
    rows: number,
  ) {
    // Written once, as the caches are: reading pages that nobody wrote reads one page of zeros, out of the cache.
    const tensor = (value: number): Uint8Array => new Uint8Array(rows * blockBytes).fill(value);
    this.#src = Array.from({ length: TENSORS }, (_, i) => tensor(i + 1));
    this.#dst = Array.from({ length: TENSORS }, () => tensor(0xff));
  }

  copy({ src, dst }: Lists): void {
    const bytes = this.blockBytes;
    for (let tensor = 0; tensor < TENSORS; tensor++) {
      const from = this.#src[tensor];
      const to = this.#dst[tensor];
      for (let i = 0; i < src.length; i++) {
        const start = Number(src[i]) * bytes;
        if (from !== undefined) to?.set(from.subarray(start, start + bytes), Number(dst[i]) * bytes);
      }
    }
  }
}

function setting(rival: PlainBlocks, lists: readonly Lists[]): (operations: number) => Promise<number> {
  let next = 0;
  return (operations) =>
    timed(() => {
      for (let i = 0; i < operations; i++) {
        const list = lists[next++ % lists.length];
        if (list !== undefined) rival.copy(list);
      }
    });
}

/** Every block of the remote cache gets bytes of its own; the local one gets others. */
async function fill({ local, remote }: Pair, blockBytes: number, rows: number): Promise<void> {
  for (let tensor = 0; tensor < TENSORS; tensor++) {
    for (let row = 0; row < rows; row++) {
      const block = new Uint8Array(blockBytes).fill(markOf(tensor, row));
      await remote.regions?.[tensor]?.write(block, row * blockBytes);
      await local.regions?.[tensor]?.write(block.fill(0xff), row * blockBytes);
    }
  }
}

/** A measurement of pulls that moved nothing would be worth nothing. */
async function checkMoved({ local }: Pair, blockBytes: number, rows: number): Promise<void> {
  for (let tensor = 0; tensor < TENSORS; tensor++) {
    for (let row = 0; row < rows; row++) {
      const [first] = (await local.regions?.[tensor]?.read((rows - 1 - row) * blockBytes, 1)) ?? [];
      const [last] = (await local.regions?.[tensor]?.read((rows - row) * blockBytes - 1, 1)) ?? [];
      const expected = markOf(tensor, row);
      if (first !== expected || last !== expected) {
        throw new Error(`block ${row} of tensor ${tensor} holds ${first} to ${last} after the pulls, not ${expected}`);
      }
    }
  }
}

const markOf = (tensor: number, row: number): number => (tensor * 61 + row * 7) % 251;

import type { KvCache } from '../lib';

/** Caches whose blocks can be told apart. */
export interface Filled {
  readonly local: KvCache;
  readonly remote: KvCache;
  readonly blockBytes: number;
  readonly rows: number;
}

/** Every block of the remote cache gets bytes of its own; the local one gets others. */
export async function fill({ local, remote, blockBytes, rows }: Filled): Promise<void> {
  const block = new Uint8Array(blockBytes);
  await mark(remote, blockBytes, rows);
  for (const region of local.regions ?? []) {
    for (let row = 0; row < rows; row++) await region.write(block.fill(0xff), row * blockBytes);
  }
}

/** Every block gets bytes of its own. */
export async function mark(cache: KvCache, blockBytes: number, rows: number): Promise<void> {
  const block = new Uint8Array(blockBytes);
  for (const [tensor, region] of (cache.regions ?? []).entries()) {
    for (let row = 0; row < rows; row++) await region.write(block.fill(markOf(tensor, row)), row * blockBytes);
  }
}

/**
 * A measurement of pulls that moved nothing would be worth nothing.
 * @throws Error unless every block of the remote cache is in the local one, in reverse order
 */
export async function checkReversed({ local, blockBytes, rows }: Omit<Filled, 'remote'>): Promise<void> {
  for (const [tensor, region] of (local.regions ?? []).entries()) {
    for (let row = 0; row < rows; row++) {
      const start = (rows - 1 - row) * blockBytes;
      const [first] = await region.read(start, 1);
      const [last] = await region.read(start + blockBytes - 1, 1);
      const expected = markOf(tensor, row);
      if (first !== expected || last !== expected) {
        throw new Error(`block ${row} of tensor ${tensor} arrived as ${first} to ${last}, not as ${expected}`);
      }
    }
  }
}

/** Never 0xff, which is what the local cache is filled with. */
const markOf = (tensor: number, row: number): number => (tensor * 61 + row * 7) % 251;

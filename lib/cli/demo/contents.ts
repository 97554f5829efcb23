import { createHash } from 'node:crypto';
import type { KvCache } from '../../cache';
import type { KvCacheManager } from '../../kv-cache-manager';
import type { MemoryRegion } from '../../memory';
import { BLOCK_BYTES, LAYERS, TENSORS, TENSORS_PER_LAYER, tensorName } from './geometry';
import type { Pattern } from './pattern';
import type { Progress } from './progress';

/** What bytes are compared by. */
export const CHECKSUM = 'SHA-256';

/** A block does not hold what was sent to it; the message says which. */
export class VerificationError extends Error {}

/** A block of the source and the block of the destination that it goes to. */
export type BlockPair = readonly [src: number, dst: number];

/** First and last layer, inclusive. */
export type LayerSpan = readonly [first: number, last: number];

/** Whose cache it is. */
export interface CacheOwner {
  readonly name: string;
  readonly manager: KvCacheManager;
}

const ALL_LAYERS: LayerSpan = [0, LAYERS - 1];

/**
 * A cache and what it should hold: a checksum for each block of each tensor. The bytes stay in the cache; here there is
 * never more than one block of one tensor.
 */
export class CacheContents {
  readonly #regions: readonly MemoryRegion[];
  /** By tensor, then by block; undefined where nothing is known. */
  readonly #checksums: (string | undefined)[];

  /**
   * @param cache one that `allocateCache` made, of `blocks` blocks
   * @throws TypeError for a cache whose memory is not known
   */
  constructor(
    readonly owner: CacheOwner,
    readonly cache: KvCache,
    readonly blocks: number,
  ) {
    if (cache.regions === undefined) throw new TypeError(`the memory of cache ${cache.cacheId} is not known`);
    this.#regions = cache.regions;
    this.#checksums = new Array<undefined>(TENSORS * blocks);
  }

  /** Bytes of the whole cache. */
  get byteLength(): number {
    return TENSORS * this.blocks * BLOCK_BYTES;
  }

  /** Writes zeros, as an engine does before it uses a cache. */
  async clear(progress: Progress): Promise<void> {
    const zeros = new Uint8Array(BLOCK_BYTES);
    const checksum = checksumOf(zeros);
    await this.#eachBlock(this.#allBlocks(), progress, async (region, tensor, block) => {
      await region.write(zeros, block * BLOCK_BYTES);
      this.#checksums[this.#index(tensor, block)] = checksum;
    });
  }

  /** Writes the pattern of one run of the prompt, and reads it back for the checksums. */
  async fill(pattern: Pattern, run: number, progress: Progress): Promise<void> {
    await this.#eachBlock(this.#allBlocks(), progress, async (region, tensor, block) => {
      await region.write(pattern.block(run, tensor, block), block * BLOCK_BYTES);
      this.#checksums[this.#index(tensor, block)] = await readChecksum(region, block);
    });
  }

  /** Notes what a transfer has put here. */
  expect(from: CacheContents, pairs: readonly BlockPair[], [first, last]: LayerSpan = ALL_LAYERS): void {
    for (let tensor = first * TENSORS_PER_LAYER; tensor < (last + 1) * TENSORS_PER_LAYER; tensor++) {
      for (const [src, dst] of pairs) {
        this.#checksums[this.#index(tensor, dst)] = from.#checksums[from.#index(tensor, src)];
      }
    }
  }

  /**
   * Reads blocks, default all, of all tensors and compares them with what should be there.
   * @throws VerificationError
   */
  async verify(progress: Progress, blocks: readonly number[] = this.#allBlocks()): Promise<void> {
    await this.#eachBlock(blocks, progress, async (region, tensor, block) => {
      const expected = this.#checksums[this.#index(tensor, block)];
      const actual = await readChecksum(region, block);
      if (actual === expected) return;
      throw new VerificationError(
        `${this.owner.name} does not hold what was sent in block ${block} of ${tensorName(tensor)} (tensor ${tensor} of cache ` +
          `${this.cache.cacheId}, bytes ${block * BLOCK_BYTES} to ${(block + 1) * BLOCK_BYTES - 1}): the ${CHECKSUM} ` +
          `begins with ${actual.slice(0, 12)} and should begin with ${String(expected).slice(0, 12)}.`,
      );
    });
  }

  #allBlocks(): number[] {
    return Array.from({ length: this.blocks }, (_, block) => block);
  }

  #index(tensor: number, block: number): number {
    return tensor * this.blocks + block;
  }

  async #eachBlock(
    blocks: readonly number[],
    progress: Progress,
    work: (region: MemoryRegion, tensor: number, block: number) => Promise<void>,
  ): Promise<void> {
    for (const [tensor, region] of this.#regions.entries()) {
      for (const block of blocks) {
        await work(region, tensor, block);
        progress.advance(BLOCK_BYTES);
      }
    }
  }
}

async function readChecksum(region: MemoryRegion, block: number): Promise<string> {
  return checksumOf(await region.read(block * BLOCK_BYTES, BLOCK_BYTES));
}

function checksumOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

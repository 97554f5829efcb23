import type { CacheDesc } from '../../cache';
import { DataType } from '../../data-type';

export const LAYERS = 32;
/** K and V. */
export const TENSORS_PER_LAYER = 2;
export const TENSORS = LAYERS * TENSORS_PER_LAYER;
export const BLOCK_TOKENS = 128;
export const KV_HEADS = 8;
export const HEAD_SIZE = 128;
const BF16_BYTES = 2;

/** Bytes of one block in one tensor: 256 KiB. */
export const BLOCK_BYTES = BLOCK_TOKENS * KV_HEADS * HEAD_SIZE * BF16_BYTES;
/** Bytes of one block in all tensors: 16 MiB. */
export const FULL_BLOCK_BYTES = BLOCK_BYTES * TENSORS;

/** The fewest blocks that give each kind of transfer one to move. */
export const MIN_BLOCKS = 4;
export const DEFAULT_BLOCKS = 16;
/** Three caches and a block more fit in 1 GiB. */
export const MAX_BLOCKS = Math.floor((2 ** 30 / FULL_BLOCK_BYTES - 1) / 3);

/** The cache of a Llama-3-8B-class model with room for `blocks` blocks. */
export function kvCacheDesc(blocks: number): CacheDesc {
  return {
    numTensors: TENSORS,
    dataType: DataType.DT_BF16,
    shape: [blocks, BLOCK_TOKENS, KV_HEADS, HEAD_SIZE],
  };
}

/** Where a tensor stands in the model, such as `layer 17, V`. */
export function tensorName(tensor: number): string {
  return `layer ${Math.floor(tensor / TENSORS_PER_LAYER)}, ${tensor % TENSORS_PER_LAYER === 0 ? 'K' : 'V'}`;
}

import type { BackendCacheDesc, KvCacheExtParam } from '../../backend/backend';
import { DataType } from '../../data-type';
import { Placement } from '../../placement';
import { tensorSize } from '../../tensor-size';

/** The cache of most recordings: 4 tensors of 4 rows of 64 bytes. */
export const DESC: BackendCacheDesc = Object.freeze({
  numTensors: 4,
  dataType: DataType.DT_INT32,
  shape: Object.freeze([4n, 16n]),
  placement: Placement.DEVICE,
});
export const ROWS = 4;
export const ROW_BYTES = 64;

/** One tensor of this number of blocks, of four bytes each. */
export function blocksDesc(blocks: number): BackendCacheDesc {
  return { ...DESC, numTensors: 1, shape: [BigInt(blocks), 1n] };
}

/** Of one tensor. */
export function tensorBytesOf({ shape, dataType }: BackendCacheDesc): number {
  const size = tensorSize(shape, dataType);
  if ('problem' in size) throw new RangeError(size.problem);
  return Number(size.byteLength);
}

/** Layers from and to, with this number of tensors each. */
export function layers(
  src: readonly [first: number, last: number],
  dst: readonly [first: number, last: number],
  tensorNumPerLayer = 2,
): KvCacheExtParam {
  return { srcLayerRange: src, dstLayerRange: dst, tensorNumPerLayer };
}

import type { KvCacheExtParam, LayerRange } from './backend/backend';
import { DEFAULT_EXT_PARAM, DEFAULT_LAYER_RANGE } from './backend/backend';
import { CALL_OPTIONS } from './call-options';
import type { CallOptions } from './call-options';
import { checkArray, checkInt32, checkUint8, outOfRange } from './check';
import type { Names } from './check';

/**
 * Block numbers, uint64 each, at most 1,048,576 of them. Plain arrays are converted once; typed arrays may be reused as
 * soon as the call returns.
 */
export type BlockList = BigUint64Array | Uint32Array | readonly number[] | readonly bigint[];

/**
 * Which layers a transfer moves.
 *
 * C++ `KvCacheExtParam`; Python: the keyword arguments of the same names, where ranges exclude their end.
 */
export interface TransferOptions extends CallOptions {
  /** First and last layer of the source, inclusive. Default `[-1, -1]`: all. */
  readonly srcLayerRange?: readonly [first: number, last: number];
  /** First and last layer of the destination, inclusive. Default `[-1, -1]`: all. */
  readonly dstLayerRange?: readonly [first: number, last: number];
  /** Tensors of a layer, 1 to 255. Default: {@link CacheDesc.tensorsPerLayer} of the local cache, 2 where it says nothing. */
  readonly tensorNumPerLayer?: number;
}

export type PullOptions = TransferOptions;
export type PushOptions = TransferOptions;

export interface PullCacheOptions extends PullOptions {
  /** Bytes of the row to pull, int64. Default -1: the whole row of the local cache. */
  readonly size?: bigint | number;
}

export const TRANSFER_OPTIONS: Names<TransferOptions> = {
  ...CALL_OPTIONS,
  srcLayerRange: true,
  dstLayerRange: true,
  tensorNumPerLayer: true,
};

/** Of one row, which may be a part of it. */
export const ROW_TRANSFER_OPTIONS: Names<PullCacheOptions> = { ...TRANSFER_OPTIONS, size: true };

/**
 * The options of a transfer as the library takes them; what is left out has the defaults of C++.
 * @param tensorsPerLayer what the local cache says
 */
export function checkExtParam(
  options: Readonly<Record<string, unknown>>,
  tensorsPerLayer: number = DEFAULT_EXT_PARAM.tensorNumPerLayer,
): KvCacheExtParam {
  const { srcLayerRange, dstLayerRange, tensorNumPerLayer } = options;
  return {
    srcLayerRange: checkLayerRange(srcLayerRange, 'options.srcLayerRange'),
    dstLayerRange: checkLayerRange(dstLayerRange, 'options.dstLayerRange'),
    tensorNumPerLayer:
      tensorNumPerLayer === undefined ? tensorsPerLayer : checkUint8(tensorNumPerLayer, 'options.tensorNumPerLayer'),
  };
}

function checkLayerRange(value: unknown, name: string): LayerRange {
  if (value === undefined) return DEFAULT_LAYER_RANGE;
  const [first, last, ...more] = checkArray(value, name, checkInt32, 3);
  if (first === undefined || last === undefined || more.length > 0) {
    throw outOfRange(name, 'a pair of a first and a last layer', value);
  }
  return [first, last];
}

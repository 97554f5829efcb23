import type { KvCacheExtParam, LayerRange } from '../backend';
import { invalid } from './refusal';

/** Most tensors that fit in a cache table, hence in any cache. */
const MAX_TENSORS = 131_061;

/** The checks that the library makes of every transfer before it looks anything up. */
export function checkExtParam(ext: KvCacheExtParam, options: { equalSpans: boolean }): void {
  checkRange(ext.srcLayerRange, 'source');
  checkRange(ext.dstLayerRange, 'destination');
  if (ext.tensorNumPerLayer <= 0) throw invalid('tensorNumPerLayer is 0');
  if (options.equalSpans && span(ext.srcLayerRange) !== span(ext.dstLayerRange)) {
    throw invalid(
      `source layers [${ext.srcLayerRange.join(', ')}] and destination layers [${ext.dstLayerRange.join(', ')}] ` +
        'differ in number',
    );
  }
}

function checkRange([first, last]: LayerRange, side: string): void {
  if (first < -1 || last < -1 || first > last) {
    throw invalid(`${side} layers [${first}, ${last}]: both must be >= -1, and first <= last`);
  }
}

const span = ([first, last]: LayerRange): number => last - first;

/** Tensors that a layer range stands for. */
export interface TensorRange {
  readonly start: number;
  readonly count: number;
}

/**
 * The tensors of a pull's layer ranges, or `undefined` where either range starts at -1: then the library ignores both.
 *
 * The library aborts or asks for more memory than there is when the numbers are huge; this is refused instead.
 */
export function tensorRanges(ext: KvCacheExtParam): { src: TensorRange; dst: TensorRange } | undefined {
  if (ext.srcLayerRange[0] < 0 || ext.dstLayerRange[0] < 0) return undefined;
  return {
    src: toTensors(ext.srcLayerRange, ext.tensorNumPerLayer, 'source'),
    dst: toTensors(ext.dstLayerRange, ext.tensorNumPerLayer, 'destination'),
  };
}

function toTensors([first, last]: LayerRange, tensorNumPerLayer: number, side: string): TensorRange {
  const range = { start: first * tensorNumPerLayer, count: (last - first + 1) * tensorNumPerLayer };
  if (range.start > 0x7fff_ffff || range.count > 0x7fff_ffff) {
    throw invalid(
      `${side} layers [${first}, ${last}] with ${tensorNumPerLayer} tensors each are beyond what the library survives ` +
        `(no cache has more than ${MAX_TENSORS} tensors)`,
    );
  }
  return range;
}

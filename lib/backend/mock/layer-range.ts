import type { KvCacheExtParam, LayerRange } from '../backend';
import { MAX_TENSORS } from '../../cache-limits';
import { invalid } from './refusal';

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

// Taking a range apart as an array runs its iterator: in this path, which every transfer takes, it is read by index.
function checkRange(range: LayerRange, side: string): void {
  const first = range[0];
  const last = range[1];
  if (first < -1 || last < -1 || first > last) {
    throw invalid(`${side} layers [${first}, ${last}]: both must be >= -1, and first <= last`);
  }
}

function span(range: LayerRange): number {
  const layers = range[1] - range[0];
  if (layers > 0x7fff_ffff) throw invalid(`layers [${range.join(', ')}]: the library would abort on their number`);
  return layers;
}

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

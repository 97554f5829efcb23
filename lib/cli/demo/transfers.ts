import { cacheKeyFromJSON } from '../../cache';
import type { CacheKeyByIdAndIndex } from '../../cache';
import type { BlockPair, CacheContents, LayerSpan } from './contents';
import { BLOCK_BYTES, FULL_BLOCK_BYTES, LAYERS, TENSORS_PER_LAYER } from './geometry';
import { withProgress } from './progress';
import type { Screen } from './screen';
import type { Tally } from './tally';
import { inWords } from './tally';

/** Where transfers are shown and counted. */
export interface Show {
  readonly screen: Screen;
  readonly tally: Tally;
}

/** What decoder 2 gets, by kind of transfer. Together the pairs name each block of both caches once. */
export interface BlockPlan {
  readonly scattered: readonly BlockPair[];
  readonly byLayers: readonly BlockPair[];
  readonly rows: readonly BlockPair[];
  readonly pushed: readonly BlockPair[];
}

/** Blocks of a request in one pull. */
const BLOCKS_PER_PULL = 4;
/** Layers in one pull of layers. */
const LAYERS_PER_PULL = 8;

/** Deals the blocks of a cache out, in an order as a paged cache has after a while. */
export function planBlocks(blocks: number): BlockPlan {
  const step = stepThrough(blocks);
  const pairs = Array.from({ length: blocks }, (_, i): BlockPair => {
    const place = (i * step) % blocks;
    return [place, (place + Math.floor(blocks / 2)) % blocks];
  });
  const quarter = Math.floor(blocks / 4);
  const rowsEnd = quarter + 1;
  const pushedEnd = rowsEnd + Math.max(quarter - 1, 1);
  return {
    byLayers: pairs.slice(0, quarter),
    rows: pairs.slice(quarter, rowsEnd),
    pushed: pairs.slice(rowsEnd, pushedEnd),
    scattered: pairs.slice(pushedEnd),
  };
}

/** The key of a cache as another process gets it: as JSON, over whatever channel an application has. */
export function receiveKey(contents: CacheContents): CacheKeyByIdAndIndex {
  return cacheKeyFromJSON(JSON.stringify(contents.cache.key()));
}

/** Pulls the whole cache row by row, each into another row: slots of two batches need not agree. */
export async function pullRows(show: Show, src: CacheContents, dst: CacheContents): Promise<void> {
  const key = receiveKey(src);
  await track(show, 'pullCache, one row a call', src.byteLength, async (measure) => {
    for (let row = 0; row < src.blocks; row++) {
      const slot = src.blocks - 1 - row;
      await measure(FULL_BLOCK_BYTES, () => dst.owner.manager.pullCache({ ...key, batchIndex: row }, dst.cache, slot));
      dst.expect(src, [[row, slot]]);
    }
  });
}

/** Pulls blocks that lie anywhere into blocks that are free. */
export async function pullScattered(
  show: Show,
  src: CacheContents,
  dst: CacheContents,
  pairs: readonly BlockPair[],
): Promise<void> {
  const key = receiveKey(src);
  const kind = `pullBlocks, up to ${BLOCKS_PER_PULL} blocks a call`;
  await track(show, kind, pairs.length * FULL_BLOCK_BYTES, async (measure) => {
    for (let first = 0; first < pairs.length; first += BLOCKS_PER_PULL) {
      const some = pairs.slice(first, first + BLOCKS_PER_PULL);
      const [srcBlocks, dstBlocks] = unzip(some);
      await measure(some.length * FULL_BLOCK_BYTES, () =>
        dst.owner.manager.pullBlocks(key, dst.cache, srcBlocks, dstBlocks),
      );
      dst.expect(src, some);
    }
  });
}

/** Pulls a few layers at a time, so that the first ones can be used while the others are on their way. */
export async function pullLayers(
  show: Show,
  src: CacheContents,
  dst: CacheContents,
  pairs: readonly BlockPair[],
): Promise<void> {
  const key = receiveKey(src);
  const [srcBlocks, dstBlocks] = unzip(pairs);
  const kind = `pullBlocks, ${LAYERS_PER_PULL} layers a call`;
  await track(show, kind, pairs.length * FULL_BLOCK_BYTES, async (measure) => {
    for (let first = 0; first < LAYERS; first += LAYERS_PER_PULL) {
      const span: LayerSpan = [first, first + LAYERS_PER_PULL - 1];
      await measure(layerBytes(LAYERS_PER_PULL) * pairs.length, () =>
        dst.owner.manager.pullBlocks(key, dst.cache, srcBlocks, dstBlocks, {
          srcLayerRange: span,
          dstLayerRange: span,
          tensorNumPerLayer: TENSORS_PER_LAYER,
        }),
      );
      dst.expect(src, pairs, span);
    }
  });
}

/** Pushes rows as a prefill does that sends each layer as soon as it is computed. */
export async function pushRowsByLayer(
  show: Show,
  src: CacheContents,
  dst: CacheContents,
  pairs: readonly BlockPair[],
): Promise<void> {
  const key = receiveKey(dst);
  await track(show, 'pushCache, one layer a call', pairs.length * FULL_BLOCK_BYTES, async (measure) => {
    for (const [row, slot] of pairs) {
      for (let layer = 0; layer < LAYERS; layer++) {
        const span: LayerSpan = [layer, layer];
        await measure(layerBytes(1), () =>
          src.owner.manager.pushCache({ ...key, batchIndex: slot }, src.cache, row, {
            srcLayerRange: span,
            dstLayerRange: span,
          }),
        );
        dst.expect(src, [[row, slot]], span);
      }
    }
  });
}

/** Pushes blocks, layer by layer as well. */
export async function pushBlocksByLayer(
  show: Show,
  src: CacheContents,
  dst: CacheContents,
  pairs: readonly BlockPair[],
): Promise<void> {
  const key = receiveKey(dst);
  const [srcBlocks, dstBlocks] = unzip(pairs);
  await track(show, 'pushBlocks, one layer a call', pairs.length * FULL_BLOCK_BYTES, async (measure) => {
    for (let layer = 0; layer < LAYERS; layer++) {
      const span: LayerSpan = [layer, layer];
      await measure(layerBytes(1) * pairs.length, () =>
        src.owner.manager.pushBlocks(key, src.cache, srcBlocks, dstBlocks, {
          srcLayerRange: span,
          dstLayerRange: span,
        }),
      );
      dst.expect(src, pairs, span);
    }
  });
}

/** Reads what arrived and compares it with what was sent: all of the cache, or some of its blocks. */
export async function verify({ screen }: Show, contents: CacheContents, blocks?: readonly number[]): Promise<void> {
  const bytes = blocks === undefined ? contents.byteLength : blocks.length * FULL_BLOCK_BYTES;
  await withProgress(screen, 'verifying', bytes, (progress) => contents.verify(progress, blocks));
}

type Measure = (bytes: number, transfer: () => Promise<void>) => Promise<void>;

/** Runs the transfers of one kind under a bar, and says what they came to. */
async function track(
  { screen, tally }: Show,
  kind: string,
  bytes: number,
  work: (measure: Measure) => Promise<void>,
): Promise<void> {
  await withProgress(screen, 'moving', bytes, (progress) =>
    work(async (part, transfer) => {
      await tally.measure(kind, part, transfer);
      progress.advance(part);
    }),
  );
  screen.text(inWords(tally.row(kind)), { indent: 3 });
}

function unzip(pairs: readonly BlockPair[]): [src: number[], dst: number[]] {
  return [pairs.map(([src]) => src), pairs.map(([, dst]) => dst)];
}

function layerBytes(layers: number): number {
  return layers * TENSORS_PER_LAYER * BLOCK_BYTES;
}

/** A step that visits every block once and is no neighbour's. */
function stepThrough(blocks: number): number {
  let step = Math.floor(0.6 * blocks);
  while (commonDivisor(step, blocks) > 1) step += 1;
  return step;
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}

import type { Shape, Transfer } from './call';
import type { CacheRecord, World } from './world';

/** What a key says of the cache that it names. */
interface Layout {
  readonly tensors: number;
  readonly rows: number;
  readonly stride: number;
}

/** The most tensors that a table of 1 MiB has room for. */
const MAX_TENSORS = 131_061;
const MAX_BLOCK = 0xffff_ffff;

/** The cache that the key of a call says something of. */
export function describedBy(world: World, { keyOf }: Transfer): CacheRecord | undefined {
  return keyOf && world.nodes[keyOf.node]?.slots[keyOf.slot]?.cache;
}

/** The layout in the key of a cache; one whose rows are no whole bytes has none. */
function layoutOf(cache: CacheRecord | undefined): Layout | undefined {
  return cache && isEven(cache) ? { tensors: cache.tensors.length, rows: cache.rows, stride: cache.stride } : undefined;
}

function isEven({ tensorBytes, rows, stride }: CacheRecord): boolean {
  return tensorBytes === rows * stride;
}

/** Whether a guard refuses a transfer: the rules of the README that concern layers, blocks and the peer's layout. */
export function isRefused(call: Transfer, local: CacheRecord | undefined, described: CacheRecord | undefined): boolean {
  const layout = layoutOf(described);
  const pulls = call.op === 'pullCache' || call.op === 'pullBlocks';
  const [localLayers, remoteLayers] = pulls ? [call.dstLayers, call.srcLayers] : [call.srcLayers, call.dstLayers];
  for (const [first, last] of [localLayers, remoteLayers]) {
    if (!(first === -1 && last === -1) && (first < 0 || last < first)) return true;
  }
  const all = localLayers[0] === -1;
  if (all !== (remoteLayers[0] === -1)) return true;
  if ((localLayers[1] + 1) * call.perLayer > (local?.tensors.length ?? MAX_TENSORS)) return true;
  if ((remoteLayers[1] + 1) * call.perLayer > (layout?.tensors ?? MAX_TENSORS)) return true;
  const isRow = call.op === 'pullCache' || call.op === 'pushCache';
  if (!isRow && [...call.srcBlocks, ...call.dstBlocks].some((block) => block > MAX_BLOCK)) return true;
  if (local === undefined) return false;
  // Also where the key carries no layout.
  if (described !== undefined && described.meaning !== local.meaning) return true;
  if (layout !== undefined && all && local.tensors.length !== layout.tensors) return true;
  if (isRow) {
    if (layout === undefined) return false;
    const bytes = pulls && call.size > 0 ? call.size : local.stride;
    if (call.remoteRow >= layout.rows || bytes > layout.stride) return true;
    return pulls && call.remoteRow > 0 && local.stride !== layout.stride;
  }
  const [localBlocks, remoteBlocks] = pulls ? [call.dstBlocks, call.srcBlocks] : [call.srcBlocks, call.dstBlocks];
  if (localBlocks.some((block) => block >= local.rows)) return true;
  if (layout === undefined) return false;
  return local.stride !== layout.stride || remoteBlocks.some((block) => block >= layout.rows);
}

/** Half bytes need rows of whole bytes. */
export function isShapeRefused({ halfBytes, columns }: Shape): boolean {
  return halfBytes && columns % 2 !== 0;
}

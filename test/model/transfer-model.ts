import type { Layers, Transfer } from './call';
import type { CacheRecord, Life, LinkRecord, Status } from './world';

/** What a push is told of its source. */
export interface Source {
  readonly tensors: number;
  readonly host: boolean;
}

/** Bytes that go from one tensor to another: offsets in both. */
interface Piece {
  readonly local: number;
  readonly remote: number;
  readonly length: number;
}

/** Which tensors go together: so many, from these on. */
interface Pairing {
  readonly local: number;
  readonly remote: number;
  readonly count: number;
}

/** Pulls: specification 3.10, 4.8 and 4.9. */
export function pull(life: Life, call: Transfer): Status {
  const blocks = call.op === 'pullBlocks';
  const { srcLayers, dstLayers, perLayer, size } = call;
  if (!blocks && (size === 0 || size < -1)) return 'LLM_PARAM_INVALID';
  if (blocks && call.remoteRow !== 0) return 'LLM_PARAM_INVALID';
  if (!isRange(srcLayers) || !isRange(dstLayers) || perLayer === 0) return 'LLM_PARAM_INVALID';
  if (blocks && !areLists(call)) return 'LLM_PARAM_INVALID';
  if (call.peer === life.node.clusterId) return 'LLM_PARAM_INVALID';
  const local = life.caches.get(call.local.id);
  if (local === undefined) return 'LLM_KV_CACHE_NOT_EXIST';
  if (!blocks && (call.localRow >= local.rows || size > local.stride)) return 'LLM_PARAM_INVALID';
  const layers = srcLayers[0] >= 0 && dstLayers[0] >= 0;
  if (layers) {
    if (local.tensors.length % perLayer !== 0) return 'LLM_PARAM_INVALID';
    if ((dstLayers[1] + 1) * perLayer > local.tensors.length) return 'LLM_PARAM_INVALID';
    if (span(srcLayers) !== span(dstLayers)) return 'LLM_PARAM_INVALID';
  }
  const link = life.links.get(call.peer);
  if (link === undefined) return 'LLM_NOT_YET_LINK';
  if (blocks && call.dstBlocks.some((block) => block >= local.rows)) return 'LLM_PARAM_INVALID';
  const remote = lookUp(link, call.remoteId);
  if (typeof remote === 'string') return remote;
  if (!layers && local.tensors.length !== remote.tensors.length) return 'LLM_PARAM_INVALID';
  const pieces = blocks ? pulledBlocks(call, local, remote) : pulledRow(call, local, remote);
  if (pieces === undefined) return 'LLM_PARAM_INVALID';
  const pairing = layers
    ? { local: dstLayers[0] * perLayer, remote: srcLayers[0] * perLayer, count: (span(srcLayers) + 1) * perLayer }
    : { local: 0, remote: 0, count: local.tensors.length };
  return move('pull', link, local, remote, pairing, pieces);
}

function pulledRow({ localRow, remoteRow, size }: Transfer, local: CacheRecord, remote: CacheRecord) {
  const wanted = size > 0 ? size : local.stride;
  // Rows of no bytes: the library would divide by zero (3.16).
  if (remote.stride === 0 || wanted > remote.stride) return undefined;
  // The remainder rule has the last word on the length, even where less was asked for.
  const rest = remote.tensorBytes % remote.stride;
  const length = rest === 0 ? wanted : rest;
  return [{ local: localRow * local.stride, remote: remoteRow * local.stride, length }];
}

function pulledBlocks({ srcBlocks, dstBlocks }: Transfer, local: CacheRecord, remote: CacheRecord) {
  if (local.stride === 0) return undefined;
  const runs = runsOf(srcBlocks, dstBlocks);
  const rest = remote.tensorBytes % local.stride;
  const pieces: Piece[] = [];
  for (const [i, { src, dst, count }] of runs.entries()) {
    if (src * local.stride >= remote.tensorBytes || count * local.stride > remote.tensorBytes) return undefined;
    const length = rest > 0 && i === runs.length - 1 ? rest : count * local.stride;
    pieces.push({ local: dst * local.stride, remote: src * local.stride, length });
  }
  return pieces;
}

/** Pushes: specification 3.11, 4.10 and 4.11. */
export function push(life: Life, call: Transfer, source: Source): Status {
  const blocks = call.op === 'pushBlocks';
  const { srcLayers, dstLayers, perLayer } = call;
  if (source.host) return 'LLM_PARAM_INVALID';
  if (!blocks && call.size !== -1) return 'LLM_PARAM_INVALID';
  if (blocks && (!areLists(call) || call.remoteRow !== 0)) return 'LLM_PARAM_INVALID';
  if (!isRange(srcLayers) || !isRange(dstLayers) || perLayer === 0) return 'LLM_PARAM_INVALID';
  if (span(srcLayers) !== span(dstLayers)) return 'LLM_PARAM_INVALID';
  const all = srcLayers[0] < 0;
  if (all && source.tensors === 0) return 'LLM_PARAM_INVALID';
  // A part of a layer that is left over is tried as a layer of its own.
  const count = all ? Math.ceil(source.tensors / perLayer) : span(srcLayers) + 1;
  for (let i = 0; i < count; i++) {
    const status = pushLayer(life, call, all ? i : srcLayers[0] + i, all ? i : dstLayers[0] + i);
    if (status !== 'LLM_SUCCESS') return status;
  }
  return 'LLM_SUCCESS';
}

function pushLayer(life: Life, call: Transfer, srcLayer: number, dstLayer: number): Status {
  const { perLayer, srcBlocks, dstBlocks, localRow, remoteRow } = call;
  const blocks = call.op === 'pushBlocks';
  const local = life.caches.get(call.local.id);
  if (local === undefined) return 'LLM_KV_CACHE_NOT_EXIST';
  const link = life.links.get(call.peer);
  if (link === undefined) return 'LLM_NOT_YET_LINK';
  const remote = lookUp(link, call.remoteId);
  if (typeof remote === 'string') return remote;
  if (dstLayer < 0 || (dstLayer + 1) * perLayer > remote.tensors.length) return 'LLM_PARAM_INVALID';
  if (blocks ? dstBlocks.some((block) => block >= remote.rows) : remoteRow >= remote.rows) return 'LLM_PARAM_INVALID';
  if ((srcLayer + 1) * perLayer > local.tensors.length) return 'LLM_PARAM_INVALID';
  if (local.tensors.length % perLayer !== 0) return 'LLM_PARAM_INVALID';
  if (blocks ? srcBlocks.some((block) => block >= local.rows) : localRow >= local.rows) return 'LLM_PARAM_INVALID';
  const { stride } = local;
  const pieces = blocks
    ? runsOf(srcBlocks, dstBlocks).map(({ src, dst, count }) => {
        return { local: src * stride, remote: dst * stride, length: count * stride };
      })
    : [{ local: localRow * stride, remote: remoteRow * remote.stride, length: stride }];
  const pairing = { local: srcLayer * perLayer, remote: dstLayer * perLayer, count: perLayer };
  return move('push', link, local, remote, pairing, pieces);
}

/** Element below -1, or first beyond last: no range. */
function isRange([first, last]: Layers): boolean {
  return first >= -1 && last >= first;
}

function span([first, last]: Layers): number {
  return last - first;
}

function areLists({ srcBlocks, dstBlocks }: Transfer): boolean {
  return srcBlocks.length > 0 && srcBlocks.length === dstBlocks.length;
}

/** Neighbouring pairs where both numbers rise by one are one copy. */
function runsOf(srcBlocks: readonly number[], dstBlocks: readonly number[]) {
  const runs: { src: number; dst: number; count: number }[] = [];
  for (const [i, src] of srcBlocks.entries()) {
    const dst = dstBlocks[i] ?? 0;
    const run = runs.at(-1);
    if (run !== undefined && src === run.src + run.count && dst === run.dst + run.count) run.count += 1;
    else runs.push({ src, dst, count: 1 });
  }
  return runs;
}

/** A cache of the peer (3.8): its table is copied once per link, and not before there is one. */
function lookUp(link: LinkRecord, id: number): CacheRecord | Status {
  if (link.table === undefined) {
    if (link.peer.over) return 'LLM_FAILED';
    if (link.peer.published) link.table = new Map(link.peer.caches);
  }
  return link.table?.get(id) ?? 'LLM_KV_CACHE_NOT_EXIST';
}

/**
 * The transport. What the library leaves undefined is what the README lists as deliberate differences: what does not fit
 * a tensor is refused, memory that the link does not know fails, and the last piece wins a place that is named twice.
 */
function move(
  direction: 'pull' | 'push',
  link: LinkRecord,
  local: CacheRecord,
  remote: CacheRecord,
  { local: firstLocal, remote: firstRemote, count }: Pairing,
  pieces: readonly Piece[],
): Status {
  const mine = local.tensors.slice(firstLocal, firstLocal + count);
  const theirs = remote.tensors.slice(firstRemote, firstRemote + count);
  const fits = ({ local: from, remote: to, length }: Piece) =>
    from + length <= local.tensorBytes && to + length <= remote.tensorBytes;
  if (theirs.length < count || !pieces.every(fits)) return 'LLM_PARAM_INVALID';
  const tensors = [...mine, ...theirs];
  if (link.peer.over || tensors.some(({ pin }) => !pin.live || !link.bound.has(pin))) return 'LLM_FAILED';
  if (tensors.some(({ region }) => region.gone)) return 'LLM_FAILED';
  for (const [i, { region }] of mine.entries()) {
    const other = theirs[i]?.region ?? region;
    for (const piece of pieces) {
      if (direction === 'pull') copy(other.bytes, piece.remote, region.bytes, piece.local, piece.length);
      else copy(region.bytes, piece.local, other.bytes, piece.remote, piece.length);
    }
  }
  return 'LLM_SUCCESS';
}

function copy(from: readonly number[], start: number, to: number[], at: number, length: number): void {
  to.splice(at, length, ...from.slice(start, start + length));
}

import type { CacheIndex, KvCacheExtParam } from '../backend';
import type { BlockRun } from './block-run';
import { blockRuns, lastOf } from './block-run';
import type { CacheEntry, CacheLayout } from './cache-table';
import type { TensorRange } from './layer-range';
import { checkExtParam, tensorRanges } from './layer-range';
import { invalid } from './refusal';
import type { MockCall } from './mock-call';
import type { Session } from './session';
import type { Span } from './transfer';
import { localEntry, move, onLink, withRemote } from './transfer';

/** Destination tensors plus twice the runs that fit in a request. */
const MAX_REQUEST = 131_064;

/** PullKvCache: one row, in the library's order of checks (specification 4.8). */
export function pullCache(
  session: Session,
  src: CacheIndex,
  dstId: bigint,
  batchIndex: number,
  size: bigint,
  ext: KvCacheExtParam,
  call: MockCall,
): void | Promise<void> {
  if (size !== -1n && size <= 0n) throw invalid(`size ${size} is neither -1 nor positive`);
  checkExtParam(ext, { equalSpans: false });
  const ranges = tensorRanges(ext);
  const local = checkLocal(session, src, dstId);
  if (batchIndex >= local.rows)
    throw invalid(`row ${batchIndex} is outside the ${local.rows} rows of cache ${local.id}`);
  if (size > local.stride) throw invalid(`size ${size} exceeds the row of ${local.stride} bytes of cache ${local.id}`);
  checkRanges(ranges, local, ext.tensorNumPerLayer);
  return onLink(session, src.clusterId, call, (link) =>
    withRemote(link, src, (remote) => {
      if (remote.stride === 0) {
        throw invalid(`rows of remote cache ${remote.id} have no bytes: the library would divide by zero`);
      }
      const pairs = pairTensors(ranges, local, remote);
      const wanted = size > 0n ? Number(size) : local.stride;
      if (wanted > remote.stride) {
        throw invalid(`${wanted} bytes exceed the row of ${remote.stride} bytes of remote cache ${remote.id}`);
      }
      // The library uses the local row size on both sides, and the remainder rule even when `size` asks for less.
      const span: Span = {
        local: batchIndex * local.stride,
        remote: src.batchIndex * local.stride,
        length: remote.tensorBytes % remote.stride || wanted,
      };
      return move('pull', link, local, remote, pairs, [span], call.observed);
    }),
  );
}

/** PullKvBlocks, in the library's order of checks (specification 4.9). */
export function pullBlocks(
  session: Session,
  src: CacheIndex,
  dstId: bigint,
  srcBlocks: BigUint64Array,
  dstBlocks: BigUint64Array,
  ext: KvCacheExtParam,
  call: MockCall,
): void | Promise<void> {
  if (src.batchIndex !== 0) throw invalid(`remote row ${src.batchIndex} given, block calls take 0 only`);
  checkExtParam(ext, { equalSpans: false });
  const ranges = tensorRanges(ext);
  checkBlockLists(srcBlocks, dstBlocks);
  const local = checkLocal(session, src, dstId);
  checkRanges(ranges, local, ext.tensorNumPerLayer);
  return onLink(session, src.clusterId, call, (link) => {
    const runs = blockRuns(srcBlocks, dstBlocks);
    const tensors = ranges?.dst.count ?? local.tensors.length;
    if (tensors + 2 * runs.length > MAX_REQUEST) {
      throw invalid(
        `${tensors} tensors and ${runs.length} runs of blocks need ${tensors + 2 * runs.length} entries, a request holds ` +
          String(MAX_REQUEST),
      );
    }
    for (const run of runs) {
      if (run.dst >= local.rows || lastOf(run.dst, run) >= local.rows) {
        throw invalid(
          `destination blocks ${run.dst} to ${lastOf(run.dst, run)} are outside the ${local.rows} blocks of cache ${local.id}`,
        );
      }
    }
    return withRemote(link, src, (remote) => {
      if (local.stride === 0) throw invalid(`blocks of cache ${local.id} have no bytes`);
      const pairs = pairTensors(ranges, local, remote);
      return move('pull', link, local, remote, pairs, pullSpans(runs, local, remote), call.observed);
    });
  });
}

export function checkBlockLists(srcBlocks: BigUint64Array, dstBlocks: BigUint64Array): void {
  if (srcBlocks.length === 0) throw invalid('no source blocks given');
  if (srcBlocks.length !== dstBlocks.length) {
    throw invalid(`${srcBlocks.length} source blocks and ${dstBlocks.length} destination blocks given`);
  }
}

function checkLocal(session: Session, src: CacheIndex, dstId: bigint): CacheEntry {
  if (src.clusterId === session.clusterId) throw invalid(`cluster ${src.clusterId} cannot pull from itself`);
  return localEntry(session, dstId);
}

function checkRanges(
  ranges: { src: TensorRange; dst: TensorRange } | undefined,
  local: CacheEntry,
  tensorNumPerLayer: number,
): void {
  if (ranges === undefined) return;
  const { length } = local.tensors;
  if (length % tensorNumPerLayer !== 0) {
    throw invalid(`the ${length} tensors of cache ${local.id} are no multiple of ${tensorNumPerLayer} per layer`);
  }
  if (ranges.dst.start + ranges.dst.count > length) {
    throw invalid(
      `tensors ${ranges.dst.start} to ${ranges.dst.start + ranges.dst.count - 1} are outside the ${length} of cache ${local.id}`,
    );
  }
  if (ranges.src.count !== ranges.dst.count) {
    throw invalid(`${ranges.src.count} source tensors and ${ranges.dst.count} destination tensors`);
  }
}

function pairTensors(
  ranges: { src: TensorRange; dst: TensorRange } | undefined,
  local: CacheEntry,
  remote: CacheLayout,
): { localStart: number; remoteStart: number; count: number } {
  const src = ranges?.src ?? { start: 0, count: remote.tensorCount };
  const dst = ranges?.dst ?? { start: 0, count: local.tensors.length };
  if (src.count !== dst.count) {
    throw invalid(`remote cache ${remote.id} has ${src.count} tensors, cache ${local.id} has ${dst.count}`);
  }
  if (src.start + src.count > remote.tensorCount) {
    throw invalid(
      `tensors ${src.start} to ${src.start + src.count - 1} are outside the ${remote.tensorCount} of remote cache ${remote.id}`,
    );
  }
  return { localStart: dst.start, remoteStart: src.start, count: src.count };
}

/** Both sides are addressed with the local block size; the last run is cut to the remote tensor's remainder. */
function pullSpans(runs: readonly BlockRun[], local: CacheEntry, remote: CacheLayout): Span[] {
  const remainder = remote.tensorBytes % local.stride;
  const remoteBlocks = Math.ceil(remote.tensorBytes / local.stride);
  return runs.map((run, i) => {
    if (run.src >= remoteBlocks) {
      throw invalid(`source block ${run.src} is outside the ${remoteBlocks} blocks of remote cache ${remote.id}`);
    }
    const bytes = local.stride * run.length;
    if (bytes > remote.tensorBytes) {
      throw invalid(`${run.length} blocks of ${local.stride} bytes exceed the tensor of remote cache ${remote.id}`);
    }
    return {
      local: run.dst * local.stride,
      remote: run.src * local.stride,
      length: i === runs.length - 1 && remainder > 0 ? remainder : bytes,
    };
  });
}

import { isHost } from '../../placement';
import type { Cache, CacheIndex, KvCacheExtParam, PushProgress } from '../backend';
import { blockRuns, lastOf } from './block-run';
import type { CacheEntry, CacheLayout } from './cache-table';
import { checkExtParam } from './layer-range';
import type { LinkEnd } from './peer';
import { checkBlockLists } from './pull';
import { invalid } from './refusal';
import type { MockCall } from './mock-call';
import type { Session } from './session';
import type { Span } from './transfer';
import { localEntry, move, onLane, onLink, withRemote } from './transfer';

/** What differs between pushing a row and pushing blocks, once both caches are known. */
interface Payload {
  checkRemote(remote: CacheLayout): void;
  spans(local: CacheEntry, remote: CacheLayout): Span[];
}

/** PushKvCache: one row, layer by layer (specification 4.10). */
export function pushCache(
  session: Session,
  src: Cache,
  dst: CacheIndex,
  srcBatchIndex: number,
  size: bigint,
  ext: KvCacheExtParam,
  progress: PushProgress,
  call: MockCall,
): void | Promise<void> {
  checkPlacement(src);
  if (size !== -1n) throw invalid(`size ${size} given, a push takes -1 only`);
  checkLayers(src, ext);
  return pushLayers(
    { session, src, dst, ext, progress, call },
    {
      checkRemote(remote) {
        if (dst.batchIndex >= remote.rows) {
          throw invalid(`row ${dst.batchIndex} is outside the ${remote.rows} rows of remote cache ${remote.id}`);
        }
      },
      spans(local, remote) {
        if (srcBatchIndex >= local.rows) {
          throw invalid(`row ${srcBatchIndex} is outside the ${local.rows} rows of cache ${local.id}`);
        }
        return [{ local: srcBatchIndex * local.stride, remote: dst.batchIndex * remote.stride, length: local.stride }];
      },
    },
  );
}

/** PushKvBlocks, layer by layer (specification 4.11). */
export function pushBlocks(
  session: Session,
  src: Cache,
  dst: CacheIndex,
  srcBlocks: BigUint64Array,
  dstBlocks: BigUint64Array,
  ext: KvCacheExtParam,
  progress: PushProgress,
  call: MockCall,
): void | Promise<void> {
  checkPlacement(src);
  checkBlockLists(srcBlocks, dstBlocks);
  if (dst.batchIndex !== 0) throw invalid(`remote row ${dst.batchIndex} given, block calls take 0 only`);
  checkLayers(src, ext);
  return pushLayers(
    { session, src, dst, ext, progress, call },
    {
      checkRemote(remote) {
        for (const block of dstBlocks) {
          if (block >= remote.rows) {
            throw invalid(
              `destination block ${block} is outside the ${remote.rows} blocks of remote cache ${remote.id}`,
            );
          }
        }
      },
      spans(local) {
        return blockRuns(srcBlocks, dstBlocks).map((run) => {
          if (run.src >= local.rows || lastOf(run.src, run) >= local.rows) {
            throw invalid(
              `source blocks ${run.src} to ${lastOf(run.src, run)} are outside the ${local.rows} blocks of cache ${local.id}`,
            );
          }
          // The library addresses both sides with the local block size.
          return {
            local: run.src * local.stride,
            remote: run.dst * local.stride,
            length: local.stride * run.length,
          };
        });
      },
    },
  );
}

function checkPlacement(src: Cache): void {
  if (isHost(src.desc.placement)) throw invalid('the source of a push must be device memory');
}

function checkLayers(src: Cache, ext: KvCacheExtParam): void {
  checkExtParam(ext, { equalSpans: true });
  if (ext.srcLayerRange[0] < 0 && src.desc.numTensors === 0) {
    throw invalid('the default source range needs the number of tensors in the description of the source');
  }
}

/** First source and destination layer and last source layer of a push. */
function layersOf(src: Cache, ext: KvCacheExtParam): { first: number; dstFirst: number; last: number } {
  const [first, last] = ext.srcLayerRange;
  if (first >= 0) return { first, dstFirst: ext.dstLayerRange[0], last };
  // With the default source range the destination range is ignored, and the description says how many layers there are.
  const { numTensors } = src.desc;
  const perLayer = ext.tensorNumPerLayer;
  const whole = Math.floor(numTensors / perLayer);
  // What is left over is tried as one more layer, and a cache of less than a layer as one.
  const layers = whole === 0 ? 1 : numTensors % perLayer === 0 ? whole : whole + 1;
  if (whole === 2 ** 31) throw invalid(`${numTensors} tensors: the library would abort`);
  // The library counts layers in int32: beyond that, which takes one tensor per layer, nothing is pushed.
  return { first: 0, dstFirst: 0, last: layers > 2 ** 31 ? -1 : layers - 1 };
}

/** A push, whatever it pushes. */
interface Push {
  readonly session: Session;
  readonly src: Cache;
  readonly dst: CacheIndex;
  readonly ext: KvCacheExtParam;
  readonly progress: PushProgress;
  readonly call: MockCall;
}

/** Layers go one after the other, and those that went stay written when a later one fails. */
function pushLayers(push: Push, payload: Payload): void | Promise<void> {
  const { session, src, ext, progress, call } = push;
  const { first, dstFirst, last } = layersOf(src, ext);
  const ends = new Set<LinkEnd>();
  const written = (): void => {
    progress.layersCompleted = (progress.layersCompleted ?? 0) + 1;
  };
  const from = (layer: number): void | Promise<void> => {
    for (let current = layer; current <= last; current++) {
      const dstLayer = dstFirst + (current - first);
      const pending = pushLayer(push, payload, current, dstLayer, ends, written);
      if (pending !== undefined) return pending.then(() => from(current + 1));
    }
    return undefined;
  };
  return onLane(session.pushLane, call, () => confirmed(ends, from(first)));
}

/** Layers that another process takes are confirmed at the end; the first that failed is what the push fails with. */
function confirmed(ends: ReadonlySet<LinkEnd>, pushing: void | Promise<void>): void | Promise<void> {
  if (pushing === undefined) return undefined;
  const confirm = async (): Promise<void> => {
    for (const end of ends) await end.confirm?.();
  };
  return pushing.then(confirm, async (error: unknown) => {
    await confirm();
    throw error;
  });
}

/** @param written called when the layer is there, which may be later than this resolves */
function pushLayer(
  { session, src, dst, ext: { tensorNumPerLayer }, call }: Push,
  payload: Payload,
  srcLayer: number,
  dstLayer: number,
  ends: Set<LinkEnd>,
  written: () => void,
): void | Promise<void> {
  const local = localEntry(session, src.cacheId);
  return onLink(session, dst.clusterId, call, (link) => {
    ends.add(link.far);
    return withRemote(link, dst, (remote) => {
      const remoteLayers = Math.floor(remote.tensorCount / tensorNumPerLayer);
      if (dstLayer < 0 || dstLayer >= remoteLayers) {
        throw invalid(
          `destination layer ${dstLayer} is outside the ${remoteLayers} layers of remote cache ${remote.id}`,
        );
      }
      payload.checkRemote(remote);
      const localLayers = Math.floor(local.tensors.length / tensorNumPerLayer);
      if (srcLayer >= localLayers) {
        throw invalid(`source layer ${srcLayer} is outside the ${localLayers} layers of cache ${local.id}`);
      }
      if (local.tensors.length % tensorNumPerLayer !== 0) {
        throw invalid(
          `the ${local.tensors.length} tensors of cache ${local.id} are no multiple of ${tensorNumPerLayer} per layer`,
        );
      }
      const pairs = {
        localStart: srcLayer * tensorNumPerLayer,
        remoteStart: dstLayer * tensorNumPerLayer,
        count: tensorNumPerLayer,
      };
      return move('push', link, local, remote, pairs, payload.spans(local, remote), call.observed, written);
    });
  });
}

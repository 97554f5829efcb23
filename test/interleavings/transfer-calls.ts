import type { CacheKeyByIdAndIndex, CallOptions, LocalCache, TransferOptions } from '../../lib';
import { common } from './context';
import type { Context } from './context';
import type { Memory } from './memory';
import { cacheOf, distinct, look } from './memory-calls';
import { Uses } from './uses';
import type { Pair } from './uses';
import type { CacheRecord, NodeRecord } from './world';

/** Rows that one call copies. */
interface Rows {
  readonly src: readonly number[];
  readonly dst: readonly number[];
}

type Make = (rows: Rows, options: TransferOptions & CallOptions) => Promise<void>;

interface Ends {
  readonly src: CacheRecord;
  readonly dst: CacheRecord;
}

export function pull(context: Context): void {
  const { node, step } = context;
  const isRow = step.call === 'pullCache';
  transfer(context, isRow, (key, local) => {
    const { kvCacheManager } = node.dist;
    return (rows, options) => {
      const [srcRow = 0] = rows.src;
      if (isRow) return kvCacheManager.pullCache({ ...key, batchIndex: srcRow }, local, rows.dst[0], options);
      return kvCacheManager.pullBlocks(key, local, rows.src, rows.dst, options);
    };
  });
}

export function push(context: Context): void {
  const { node, step } = context;
  const isRow = step.call === 'pushCache';
  transfer(context, isRow, (key, local) => {
    const { kvCacheManager } = node.dist;
    return (rows, options) => {
      const [dstRow = 0] = rows.dst;
      if (isRow) return kvCacheManager.pushCache({ ...key, batchIndex: dstRow }, local, rows.src[0], options);
      return kvCacheManager.pushBlocks(key, local, rows.src, rows.dst, options);
    };
  });
}

/** A pull or a push: the cache of the step is local, the other one remote. */
function transfer(
  context: Context,
  isRow: boolean,
  makes: (key: CacheKeyByIdAndIndex, local: LocalCache) => Make,
): void {
  const { world, node, step } = context;
  const peer = world.peer(node, step);
  const local = cacheOf(context);
  const remote = peer.caches[step.other % peer.caches.length];
  if (local === undefined) return;
  const oldKey = step.isOldKey ? peer.oldKeys[step.other % peer.oldKeys.length] : undefined;
  const handle = local.handle ?? BigInt(local.key.cacheId);
  if (oldKey !== undefined) {
    transferWithOldKey(context, peer, oldKey, local, makes(oldKey, handle));
    return;
  }
  if (remote === undefined) return;
  const pulls = step.call.startsWith('pull');
  const ends = pulls ? { src: remote, dst: local } : { src: local, dst: remote };
  copy(context, ends, makes(remote.key, handle), { isRow, layers: layersOf(context, ends), peer });
}

/** A key of a cache that is gone, or of an earlier life. What it does to this side's rows is not known. */
function transferWithOldKey(
  context: Context,
  peer: NodeRecord,
  key: CacheKeyByIdAndIndex,
  { memory }: CacheRecord,
  make: Make,
): void {
  const { calls, node, step } = context;
  const row = (step.otherRows[0] ?? 0) % memory.rows;
  const pulls = step.call.startsWith('pull');
  // A push may write any memory of the peer that has the id of this key now.
  if (!pulls) return;
  const cells = memory.cellsOf(row);
  if (step.isCareful && !cells.every((cell) => cell.isFree)) return;
  const link = node.links.get(peer.number);
  const uses = new Uses([], cells);
  peer.transfersWithIt += 1;
  const forget = () => {
    for (const cell of cells) cell.stamp = undefined;
  };
  calls.start({
    ...common(context),
    uses,
    make: (options) => make({ src: [0], dst: [row] }, { ...options }),
    resolved: () => {
      forget();
      const isSame = link?.life !== undefined && node.links.get(peer.number) === link;
      if (isSame && key.life !== link.life) {
        calls.problems.push(
          `step ${context.number} moved with a key of life ${key.life} over a link of life ${link.life}`,
        );
      }
    },
    rejected: forget,
    released: () => {
      peer.transfersWithIt -= 1;
    },
  });
}

export function copyLocally(context: Context): void {
  const { node, step } = context;
  const dst = cacheOf(context);
  const src = step.call === 'copyBlocks' ? dst : sourceOf(context, dst);
  if (dst === undefined || src === undefined) return;
  const [to, from] = [dst.handle, src.handle];
  if (to === undefined || from === undefined) return;
  const { kvCacheManager } = node.dist;
  const make: Make = ({ src: rows, dst: others }, options) => {
    const pairs = rows.map((row, i) => [row, others[i] ?? 0] as const);
    switch (step.call) {
      case 'copyCache':
        return kvCacheManager.copyCache(to, from, {
          ...options,
          srcBatchIndex: rows[0] ?? 0,
          dstBatchIndex: others[0] ?? 0,
        });
      case 'copyBlocks':
        return kvCacheManager.copyBlocks(to, new Map(pairs.map(([row, other]) => [row, [other]])), options);
      default:
        return kvCacheManager.swapBlocks(from, to, new Map(pairs), options);
    }
  };
  copy(context, { src, dst }, make, { isRow: step.call === 'copyCache', layers: undefined, peer: undefined });
}

/** A swap is between host and device memory. */
function sourceOf({ node, step }: Context, dst: CacheRecord | undefined): CacheRecord | undefined {
  const across = node.caches.find(({ memory }) => memory.onHost !== dst?.memory.onHost);
  const chosen = node.caches[step.other % node.caches.length];
  return step.call === 'swapBlocks' && step.isCareful ? (across ?? chosen) : chosen;
}

interface Course {
  readonly isRow: boolean;
  readonly layers: readonly [first: number, last: number] | undefined;
  readonly peer: NodeRecord | undefined;
}

function copy(context: Context, ends: Ends, make: Make, { isRow, layers, peer }: Course): void {
  const { calls, step } = context;
  const rows = rowsOf(context, ends, isRow);
  const pairs = pairsOf(ends, rows, layers);
  const isFree = pairs.every(([src, dst]) => src.writers === 0 && dst.isFree);
  if (pairs.length === 0 || (step.isCareful && !isFree)) return;
  const uses = new Uses(
    pairs.map(([src]) => src),
    pairs.map(([, dst]) => dst),
  );
  const ranges = layers === undefined ? {} : { srcLayerRange: layers, dstLayerRange: layers };
  if (peer !== undefined) peer.transfersWithIt += 1;
  calls.start({
    ...common(context),
    uses,
    make: (options) => make(rows, { ...options, ...ranges }),
    resolved: () => {
      const { isClean } = uses;
      for (const [src, dst] of pairs) dst.stamp = isClean ? src.stamp : undefined;
    },
    rejected: () => {
      for (const [, dst] of pairs) dst.stamp = undefined;
    },
    released: () => {
      if (peer !== undefined) peer.transfersWithIt -= 1;
      look(context, ends.dst, distinct(rows.dst, ends.dst.memory.rows));
    },
  });
}

function rowsOf({ step }: Context, { src, dst }: Ends, isRow: boolean): Rows {
  const to = distinct(step.otherRows, dst.memory.rows);
  const from = distinct(step.rows, src.memory.rows);
  const count = isRow ? 1 : Math.min(from.length, to.length);
  return { src: from.slice(0, count), dst: to.slice(0, count) };
}

function pairsOf({ src, dst }: Ends, rows: Rows, layers: Course['layers']): Pair[] {
  const tensors = tensorsOf(src.memory, dst.memory, layers);
  return rows.src.flatMap((row, i) => {
    const to = dst.memory.cellsOf(rows.dst[i] ?? 0, tensors);
    return src.memory.cellsOf(row, tensors).map((cell, t): Pair => [cell, to[t] ?? cell]);
  });
}

function tensorsOf(src: Memory, dst: Memory, layers: Course['layers']): readonly [number, number] {
  if (layers === undefined) return [0, Math.min(src.tensors, dst.tensors) - 1];
  return [layers[0] * src.tensorsPerLayer, (layers[1] + 1) * src.tensorsPerLayer - 1];
}

function layersOf({ step }: Context, { src, dst }: Ends): Course['layers'] {
  if (step.layers === undefined) return undefined;
  const layers = Math.min(src.memory.tensors, dst.memory.tensors) / src.memory.tensorsPerLayer;
  const first = step.layers[0] % layers;
  return [first, Math.min(layers - 1, first + step.layers[1] - 1)];
}

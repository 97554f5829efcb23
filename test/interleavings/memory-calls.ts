import { DataType, Placement } from '../../lib';
import type { CacheDesc, KvCache } from '../../lib';
import { common } from './context';
import type { Context } from './context';
import { Memory, newStamp, patternOf, ROW_BYTES } from './memory';
import type { CachePlan } from './steps';
import { Uses } from './uses';
import type { CacheRecord, NodeRecord } from './world';

/** More would only be in the way. */
const MOST_CACHES = 4;
const REGION: Omit<CachePlan, 'isAllocated'> = { layers: 1, tensorsPerLayer: 1, rows: 1, onHost: false };

export function allocateCache(context: Context): void {
  const { calls, node } = context;
  const plan = cachePlanOf(context);
  if (node.caches.length >= MOST_CACHES) return;
  if (!plan.isAllocated) {
    allocateMemory(context, plan);
    return;
  }
  const { dist } = node;
  const memory = new Memory(plan);
  calls.start({
    ...common(context),
    make: (limits) => dist.kvCacheManager.allocateCache(descOf(memory), limits),
    resolved: (handle) => {
      if (dist === node.dist) node.caches.push(recordOf(memory, handle));
    },
  });
}

/** The regions of a cache, which are registered when all are there; or a region that is no cache. */
export function allocateMemory(context: Context, plan?: CachePlan): void {
  const { calls, node, step, number } = context;
  const { dist } = node;
  const placement = plan?.onHost === true ? Placement.HOST : Placement.DEVICE;
  const shape = plan ?? REGION;
  const make = (bytes: number) => ({
    step: number,
    operation: 'allocateMemory',
    limits: step.limits,
    make: (limits: object | undefined) => dist.allocateMemory(bytes, { ...limits, placement }),
  });
  if (plan === undefined) {
    calls.start({
      ...make(ROW_BYTES),
      resolved: (region) => {
        if (dist === node.dist) node.regions.push({ region, memory: new Memory(shape, [region]) });
      },
    });
    return;
  }
  const regions = Array.from({ length: shape.layers * shape.tensorsPerLayer }, () => undefined as never);
  let missing = regions.length;
  for (const i of regions.keys()) {
    calls.start({
      ...make(shape.rows * ROW_BYTES),
      resolved: (region) => {
        regions[i] = region as never;
        missing -= 1;
        if (missing > 0 || dist !== node.dist) return;
        const memory = new Memory(shape, regions);
        node.spare.push(memory);
        register(context, node, memory);
      },
    });
  }
}

export function registerCache(context: Context): void {
  const { node, step } = context;
  const memory = node.spare[step.cache % node.spare.length];
  if (memory !== undefined) register(context, node, memory);
}

function register({ calls, step, number }: Context, node: NodeRecord, memory: Memory): void {
  const { dist } = node;
  const addresses = (memory.regions ?? []).map(({ address }) => address);
  node.spare = node.spare.filter((each) => each !== memory);
  calls.start({
    step: number,
    operation: 'registerCache',
    limits: step.limits,
    make: (limits) => dist.kvCacheManager.registerCache(descOf(memory), addresses, limits),
    resolved: (handle) => {
      if (dist === node.dist) node.caches.push(recordOf(memory, handle));
    },
    rejected: () => {
      if (dist === node.dist) node.spare.push(memory);
    },
  });
}

export function unregisterCache(context: Context): void {
  const { calls, node } = context;
  const { dist } = node;
  const cache = cacheOf(context);
  if (cache === undefined) return;
  const local = cache.handle ?? BigInt(cache.key.cacheId);
  calls.start({
    ...common(context),
    make: (limits) => dist.kvCacheManager.unregisterCache(local, limits),
    resolved: () => {
      remove(node, cache);
      if (dist === node.dist && cache.memory.regions !== undefined) node.spare.push(cache.memory);
    },
  });
}

export function deallocateCache(context: Context): void {
  const { calls, node } = context;
  const { dist } = node;
  const cache = cacheOf(context);
  const { handle } = cache ?? {};
  if (cache === undefined || handle === undefined || cache.memory.regions !== undefined) return;
  cache.memory.forget();
  calls.start({
    ...common(context),
    make: (limits) => dist.kvCacheManager.deallocateCache(handle, limits),
    resolved: () => {
      remove(node, cache);
    },
    released: () => {
      cache.memory.forget();
    },
  });
}

export function free(context: Context): void {
  const { calls, node, step } = context;
  const chosen = node.regions[step.cache % node.regions.length];
  if (chosen === undefined) return;
  const { region, memory } = chosen;
  memory.forget();
  calls.start({
    ...common(context),
    make: (limits) => region.free(limits),
    resolved: () => {
      node.regions = node.regions.filter((each) => each !== chosen);
    },
    released: () => {
      memory.forget();
    },
  });
}

export function write(context: Context): void {
  const { calls, node, step } = context;
  const chosen = node.regions[step.cache % node.regions.length];
  if (chosen === undefined) return;
  const cell = chosen.memory.cell(0, 0);
  if (step.isCareful && !cell.isFree) return;
  const stamp = newStamp();
  const bytes = patternOf(stamp);
  const uses = new Uses([], [cell]);
  calls.start({
    ...common(context),
    uses,
    make: (limits) => {
      const written = chosen.region.write(bytes, 0, limits);
      // What happens to the caller's bytes from now on changes nothing.
      bytes.fill(0);
      return written;
    },
    resolved: () => {
      cell.stamp = uses.isClean ? stamp : undefined;
    },
    rejected: () => {
      cell.stamp = undefined;
    },
  });
}

export function read(context: Context): void {
  const { calls, node, step } = context;
  const chosen = node.regions[step.cache % node.regions.length];
  if (chosen === undefined) return;
  const cell = chosen.memory.cell(0, 0);
  const { stamp } = cell;
  const uses = new Uses([cell], []);
  calls.start({
    ...common(context),
    uses,
    make: (limits) => chosen.region.read(0, ROW_BYTES, limits),
    resolved: (bytes) => {
      if (uses.isClean) compare(context, [stamp], bytes);
    },
  });
}

export function writeBlocks(context: Context): void {
  const { calls, step } = context;
  const cache = cacheOf(context);
  const { handle, memory } = cache ?? {};
  if (handle === undefined || memory === undefined) return;
  const rows = distinct(step.rows, memory.rows).filter(
    (row) => !step.isCareful || memory.cellsOf(row).every((cell) => cell.isFree),
  );
  if (rows.length === 0) return;
  const cells = rows.flatMap((row) => memory.cellsOf(row));
  const stamps = cells.map(() => newStamp());
  const bytes = Buffer.concat(stamps.map(patternOf));
  const uses = new Uses([], cells);
  calls.start({
    ...common(context),
    uses,
    make: (limits) => {
      const written = handle.writeBlocks(rows, bytes, limits);
      bytes.fill(0);
      return written;
    },
    resolved: () => {
      const { isClean } = uses;
      for (const [i, cell] of cells.entries()) cell.stamp = isClean ? stamps[i] : undefined;
    },
    rejected: () => {
      for (const cell of cells) cell.stamp = undefined;
    },
  });
}

export function readBlocks(context: Context): void {
  const cache = cacheOf(context);
  if (cache !== undefined) look(context, cache, distinct(context.step.rows, cache.memory.rows));
}

/** Reads rows of a cache and compares them with what is known of them. */
export function look(
  context: Pick<Context, 'calls' | 'number'> & Partial<Context>,
  cache: CacheRecord,
  rows: number[],
) {
  const { calls, number, step } = context;
  const { handle, memory } = cache;
  if (handle === undefined || rows.length === 0) return;
  const cells = rows.flatMap((row) => memory.cellsOf(row));
  const stamps = cells.map(({ stamp }) => stamp);
  const uses = new Uses(cells, []);
  calls.start({
    step: number,
    operation: 'readBlocks',
    limits: step?.call === 'readBlocks' ? step.limits : undefined,
    uses,
    make: (limits) => handle.readBlocks(rows, limits),
    resolved: (bytes) => {
      if (uses.isClean) compare(context, stamps, bytes);
    },
  });
}

function compare(
  { calls, number }: Pick<Context, 'calls' | 'number'>,
  stamps: readonly (number | undefined)[],
  bytes: Uint8Array,
): void {
  for (const [i, stamp] of stamps.entries()) {
    if (stamp === undefined) continue;
    const found = Buffer.from(bytes.subarray(i * ROW_BYTES, (i + 1) * ROW_BYTES));
    if (found.equals(patternOf(stamp))) continue;
    const other = found.length < 4 ? 'nothing' : `what looks like write ${found.readUInt32BE(0)}`;
    calls.problems.push(`what step ${number} reads as row ${i} is not write ${stamp}, but ${other}`);
  }
}

export function cacheOf({ node, step }: Context): CacheRecord | undefined {
  return node.caches[step.cache % node.caches.length];
}

export function distinct(rows: readonly number[], bound: number): number[] {
  return [...new Set(rows.map((row) => row % bound))];
}

function remove(node: NodeRecord, cache: CacheRecord): void {
  if (!node.caches.includes(cache)) return;
  node.caches = node.caches.filter((each) => each !== cache);
  node.oldKeys.push(cache.key);
}

function recordOf(memory: Memory, handle: KvCache): CacheRecord {
  return { memory, handle, key: handle.key() };
}

function cachePlanOf({ node, step }: Context): CachePlan {
  return node.plan.caches[step.cache % node.plan.caches.length]!;
}

function descOf(memory: Memory): CacheDesc {
  return {
    numTensors: memory.tensors,
    dataType: DataType.DT_INT8,
    shape: [memory.rows, ROW_BYTES],
    placement: memory.onHost ? Placement.HOST : Placement.DEVICE,
    tensorsPerLayer: memory.tensorsPerLayer,
  };
}

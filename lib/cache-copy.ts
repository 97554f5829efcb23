import { types } from 'node:util';
import type { Cache } from './backend/backend';
import { RegisteredCache } from './cache';
import { CALL_OPTIONS, limitsOf } from './call-options';
import type { CallLimits, CallOptions } from './call-options';
import {
  checkInt64,
  checkUint32,
  checkUint32Elements,
  checkUint64,
  invalidArgType,
  MAX_LIST_LENGTH,
  measureArray,
} from './check';
import type { Names } from './check';
import type { BlockPair, CopyRun } from './copy-runs';
import { copyRuns } from './copy-runs';
import { LLMException } from './exception';
import type { Instance } from './instance';
import { unlessLibraryDoes } from './library-call';
import { isHost } from './placement';
import type { Registration } from './registrations';
import type { LimitedCall } from './limited-call';
import { LLMStatusCode } from './status';
import { SumLimit } from './sum-limit';

/** What of a row `copyCache` copies, and where to. */
export interface CopyCacheOptions extends CallOptions {
  /** Row of the destination, uint32. Default 0. */
  readonly dstBatchIndex?: number;
  /** Row of the source, uint32. Default 0. */
  readonly srcBatchIndex?: number;
  /** Bytes from the start of the row, on both sides, uint64. Default 0. */
  readonly offset?: bigint | number;
  /** Bytes, > 0. Default -1: all that follow in the source row. */
  readonly size?: bigint | number;
}

export const COPY_OPTIONS: Names<CopyCacheOptions> = {
  ...CALL_OPTIONS,
  dstBatchIndex: true,
  srcBatchIndex: true,
  offset: true,
  size: true,
};

/** Copies in each pair of tensors, as byte offsets from their starts. There may be a million: hence no object for each. */
interface Pieces {
  readonly src: BigUint64Array;
  readonly dst: BigUint64Array;
  readonly byteLength: BigUint64Array;
}

export async function copyCache(
  instance: Instance,
  dst: RegisteredCache,
  src: RegisteredCache,
  options: Readonly<Record<string, unknown>>,
): Promise<void> {
  const operation = 'copyCache';
  const { dstBatchIndex = 0, srcBatchIndex = 0, offset = 0n, size = -1n } = options;
  const dstRow = BigInt(checkUint32(dstBatchIndex, 'options.dstBatchIndex'));
  const srcRow = BigInt(checkUint32(srcBatchIndex, 'options.srcBatchIndex'));
  const from = checkUint64(offset, 'options.offset');
  const wanted = checkInt64(size, 'options.size');
  const limits = limitsOf(options);
  const refuse = (problem: string) => invalid(operation, src, problem);
  const copy = async (copied: CopiedCaches) => {
    const { source, destination, uses, call } = copied;
    const { rowBytes } = source.size;
    if (wanted !== -1n && wanted <= 0n) throw refuse(`size ${wanted} is neither -1 nor positive`);
    if (source.desc.numTensors !== destination.desc.numTensors) {
      throw refuse(`the source has ${source.desc.numTensors} tensors, the destination ${destination.desc.numTensors}`);
    }
    if (srcRow >= source.size.rows) throw refuse(`row ${srcRow} of a source with ${source.size.rows} rows`);
    if (dstRow >= destination.size.rows)
      throw refuse(`row ${dstRow} of a destination with ${destination.size.rows} rows`);
    const least = rowBytes < destination.size.rowBytes ? rowBytes : destination.size.rowBytes;
    if (from >= least) throw refuse(`offset ${from} in rows of ${rowBytes} and ${destination.size.rowBytes} bytes`);
    const bytes = wanted === -1n ? rowBytes - from : wanted;
    if (from + bytes > least) {
      throw refuse(`${bytes} bytes from offset ${from} in rows of ${rowBytes} and ${destination.size.rowBytes} bytes`);
    }
    uses(
      () => [srcRow],
      () => [dstRow],
    );
    await unlessLibraryDoes(
      () =>
        instance.handOver(call, () =>
          instance.backend.copyKvCache(
            asCache(source),
            asCache(destination),
            Number(srcRow),
            Number(dstRow),
            from,
            wanted,
          ),
        ),
      () => {
        const piece = {
          src: BigUint64Array.of(srcRow * rowBytes + from),
          dst: BigUint64Array.of(dstRow * destination.size.rowBytes + from),
          byteLength: BigUint64Array.of(bytes),
        };
        return copyPieces(instance, copied, piece);
      },
      refusalFrom(source),
    );
  };
  await onCaches(instance, operation, src, dst, copy, limits);
}

export async function copyBlocks(
  instance: Instance,
  cache: RegisteredCache,
  srcToDst: unknown,
  limits?: CallLimits,
): Promise<void> {
  const operation = 'copyBlocks';
  const lists = destinationsOf(srcToDst, 'srcToDst');
  const copy = async (copied: CopiedCaches) => {
    const { source, uses } = copied;
    const { rows } = source.size;
    // Block numbers have 32 bits; a number of rows that is not exact is beyond all of them.
    const end = Number(rows);
    for (const { src, dst } of lists) {
      const far = src >= end ? src : dst.find((block) => block >= end);
      if (far !== undefined) throw invalid(operation, cache, `block ${far} of a cache with ${rows} blocks`);
    }
    uses(
      () => lists.map(({ src }) => src),
      () => lists.flatMap(({ dst }) => Array.from(dst)),
    );
    const pairs: BlockPair[] = [];
    for (const { src, dst } of lists) for (const to of dst) pairs.push({ src, dst: to });
    await copyPairs(instance, copied, pairs);
  };
  await onCaches(instance, operation, cache, cache, copy, limits);
}

export async function swapBlocks(
  instance: Instance,
  src: RegisteredCache,
  dst: RegisteredCache,
  srcToDst: unknown,
  limits?: CallLimits,
): Promise<void> {
  const operation = 'swapBlocks';
  const pairs = entriesOf(srcToDst, 'srcToDst').map(([from, to]) => ({
    src: checkUint32(from, 'srcToDst key'),
    dst: checkUint32(to, `srcToDst.get(${String(from)})`),
  }));
  const refuse = (problem: string) => invalid(operation, src, problem);
  const copy = async (copied: CopiedCaches) => {
    const { source, destination, uses } = copied;
    if (isHost(source.desc.placement) === isHost(destination.desc.placement)) {
      throw refuse('one of the caches must be in host memory and the other one in device memory');
    }
    if (source.desc.numTensors !== destination.desc.numTensors) {
      throw refuse(`the source has ${source.desc.numTensors} tensors, the destination ${destination.desc.numTensors}`);
    }
    if (source.size.rowBytes !== destination.size.rowBytes) {
      throw refuse(`blocks of ${source.size.rowBytes} bytes cannot go to blocks of ${destination.size.rowBytes} bytes`);
    }
    for (const pair of pairs) {
      if (BigInt(pair.src) >= source.size.rows)
        throw refuse(`block ${pair.src} of a source with ${source.size.rows} blocks`);
      if (BigInt(pair.dst) >= destination.size.rows) {
        throw refuse(`block ${pair.dst} of a destination with ${destination.size.rows} blocks`);
      }
    }
    uses(
      () => pairs.map(({ src }) => src),
      () => pairs.map(({ dst }) => dst),
    );
    await copyPairs(instance, copied, pairs);
  };
  await onCaches(instance, operation, src, dst, copy, limits);
}

/**
 * Copies blocks, one pair after the other. Each of the library's lists of destinations takes a copy of all
 * sources; it has no list for one source, as a map of Python's `copy_blocks` has. So it gets one list, in which a source is named
 * once for each of its destinations.
 */
async function copyPairs(instance: Instance, caches: CopiedCaches, pairs: readonly BlockPair[]): Promise<void> {
  const { source, destination, call } = caches;
  // The library refuses to copy nothing.
  if (pairs.length === 0) return;
  await unlessLibraryDoes(
    () =>
      instance.handOver(call, () =>
        instance.backend.copyKvBlocks(
          asCache(source),
          asCache(destination),
          BigUint64Array.from(pairs, (pair) => BigInt(pair.src)),
          [BigUint64Array.from(pairs, (pair) => BigInt(pair.dst))],
        ),
      ),
    () => copyPieces(instance, caches, blockPieces(copyRuns(pairs, source === destination), source.size.rowBytes)),
    refusalFrom(source),
  );
}

/** The older engine does not copy from host to host memory, and calls it a wrong argument; those have been checked before. */
function refusalFrom({ desc }: Registration): LLMStatusCode | undefined {
  return isHost(desc.placement) ? LLMStatusCode.LLM_PARAM_INVALID : undefined;
}

/** Copies pieces in all tensors: one call of the backend for each tensor, where it takes lists. */
async function copyPieces(
  instance: Instance,
  { source, destination, moved, call }: CopiedCaches,
  pieces: Pieces,
): Promise<void> {
  const { backend } = instance;
  const copyRanges = backend.copyRanges?.bind(backend);
  for (const [i, from] of source.addrs.entries()) {
    const to = destination.addrs[i] ?? 0n;
    if (copyRanges !== undefined && pieces.src.length > 1) {
      const dst = shifted(pieces.dst, to);
      const src = shifted(pieces.src, from);
      await instance.handOver(call, () => copyRanges(dst, src, pieces.byteLength.slice()));
      moved();
      continue;
    }
    for (const [piece, byteLength] of pieces.byteLength.entries()) {
      const at = { dst: to + (pieces.dst[piece] ?? 0n), src: from + (pieces.src[piece] ?? 0n) };
      await copyPiece(instance, at, Number(byteLength), call);
      moved();
    }
  }
}

function shifted(offsets: BigUint64Array, start: bigint): BigUint64Array {
  return offsets.map((offset) => start + offset);
}

async function copyPiece(
  instance: Instance,
  { dst, src }: { readonly dst: bigint; readonly src: bigint },
  byteLength: number,
  call: LimitedCall | undefined,
): Promise<void> {
  const { backend } = instance;
  const copy = backend.copy?.bind(backend);
  if (copy !== undefined) {
    await instance.handOver(call, () => copy(dst, src, byteLength));
    return;
  }
  const bytes = await instance.handOver(call, () => backend.read(src, byteLength));
  await instance.handOver(call, () => backend.write(dst, bytes));
}

type Rows = Iterable<number | bigint>;

interface CopiedCaches {
  readonly source: Registration;
  readonly destination: Registration;
  /** A step of the copy has ended. */
  readonly moved: () => void;
  /** Says which rows are read and which are written, where that is asked for. */
  readonly uses: (read: () => Rows, written: () => Rows) => void;
  /** Where its options may end it early. */
  readonly call: LimitedCall | undefined;
}

function onCaches(
  instance: Instance,
  operation: string,
  src: RegisteredCache,
  dst: RegisteredCache,
  work: (caches: CopiedCaches) => Promise<void>,
  limits: CallLimits | undefined,
): Promise<void> {
  const source = RegisteredCache.registrationOf(src);
  const destination = RegisteredCache.registrationOf(dst);
  const copy = (moved: () => void, call: LimitedCall | undefined) =>
    work({
      source,
      destination,
      moved,
      call,
      uses(read, written) {
        if (!instance.noticesAccess(call)) return;
        instance.access(operation, call, () => [
          { cache: source, rows: read(), writes: false },
          { cache: destination, rows: written(), writes: true },
        ]);
      },
    });
  return instance.copy(operation, [src.cacheId, dst.cacheId], copy, limits);
}

function blockPieces(runs: readonly CopyRun[], rowBytes: bigint): Pieces {
  const pieces = {
    src: new BigUint64Array(runs.length),
    dst: new BigUint64Array(runs.length),
    byteLength: new BigUint64Array(runs.length),
  };
  runs.forEach(({ src, dst, length }, i) => {
    pieces.src[i] = BigInt(src) * rowBytes;
    pieces.dst[i] = BigInt(dst) * rowBytes;
    pieces.byteLength[i] = BigInt(length) * rowBytes;
  });
  return pieces;
}

const asCache = ({ cacheId, desc, addrs }: Registration): Cache => ({ cacheId, desc, tensorAddrs: addrs });

function invalid(operation: string, { cacheId }: RegisteredCache, problem: string): LLMException {
  return new LLMException(LLMStatusCode.LLM_PARAM_INVALID, { operation, message: problem, cacheId });
}

interface Destinations {
  readonly src: number;
  readonly dst: Uint32Array;
}

/** The lists may share one array: they are counted together before one of them is copied. */
function destinationsOf(value: unknown, name: string): Destinations[] {
  const destinations = new SumLimit(name, MAX_LIST_LENGTH, 'destinations');
  const measured = entriesOf(value, name).map(([key, list]) => {
    const src = checkUint32(key, `${name} key`);
    const dst = measureArray(list, `${name}.get(${src})`);
    destinations.add(dst.length);
    return { src, dst };
  });
  return measured.map(({ src, dst }) => ({ src, dst: checkUint32Elements(dst) }));
}

const MAP_SIZE = Object.getOwnPropertyDescriptor(Map.prototype, 'size');

/** The entries of a caller's map, whatever its class makes of iteration. */
function entriesOf(value: unknown, name: string): [unknown, unknown][] {
  if (!types.isMap(value)) throw invalidArgType(name, 'a Map', value);
  new SumLimit(name, MAX_LIST_LENGTH, 'entries').add(Number(MAP_SIZE?.get?.call(value)));
  const entries: [unknown, unknown][] = [];
  Map.prototype.forEach.call(value, (dst: unknown, src: unknown) => entries.push([src, dst]));
  return entries;
}

import { LLMException } from '../../exception';
import { nodeTimers } from '../../node-timers';
import { isHost } from '../../placement';
import { LLMStatusCode } from '../../status';
import { tensorSize } from '../../tensor-size';
import type {
  Backend,
  BackendCacheDesc,
  BackendOptions,
  BlockLimits,
  Cache,
  CacheIndex,
  ClusterInfo,
  KvCacheExtParam,
  RunningTransfer,
  TransferKind,
} from '../backend';
import type { CacheFields, ClusterLists, DescFields, ExtFields, IndexFields, NativeDataDist } from './addon';
import { namePeers } from './link-failure';
import type { PendingCalls } from './pending-calls';

const NO_LIMITS: BlockLimits = { src: Infinity, dst: Infinity };

/** Copied in one go on the JavaScript thread, in well under a millisecond. */
const CHUNK_BYTES = 4 * 1024 * 1024;

/**
 * LLM-DataDist of the vendor, through the addon: takes arguments apart, and nothing else.
 *
 * C++ `llm_datadist::LlmDataDist` and the memory functions of the Ascend runtime.
 */
export class NativeBackend implements Backend {
  readonly name = 'native';
  readonly readsBlocksAtOnce = true;
  readonly #dist: NativeDataDist;
  readonly #calls: PendingCalls;
  /** Calls in several parts that are under way, by the numbers of their first parts. */
  readonly #inParts = new Map<number, CallInParts>();
  #wasBarred = false;

  /** @param calls those of the object */
  constructor(dist: NativeDataDist, calls: PendingCalls) {
    this.#dist = dist;
    this.#calls = calls;
  }

  initialize(options: BackendOptions): Promise<void> {
    return this.#calls.promise(this.#dist.initialize(Object.keys(options), Object.values(options), deviceOf(options)));
  }

  async finalize(): Promise<void> {
    this.#wasBarred = false;
    try {
      await this.#calls.promise(this.#dist.finalize());
    } catch (error) {
      // Whatever the library answers, the instance is not initialised after it.
      this.#wasBarred = this.#dist.isInitialized();
      throw error;
    }
  }

  get wasBarred(): boolean {
    return this.#wasBarred;
  }

  setRole(role: number, options: BackendOptions): Promise<void> {
    return this.#calls.promise(this.#dist.setRole(role, Object.keys(options), Object.values(options)));
  }

  linkLlmClusters(clusters: readonly ClusterInfo[], timeoutMs: number): Promise<readonly number[]> {
    return onClusters(clusters, () =>
      this.#calls.promise(this.#dist.linkLlmClusters(...clusterLists(clusters), timeoutMs)),
    );
  }

  unlinkLlmClusters(clusters: readonly ClusterInfo[], timeoutMs: number, force: boolean): Promise<readonly number[]> {
    return onClusters(clusters, () =>
      this.#calls.promise(this.#dist.unlinkLlmClusters(...clusterLists(clusters), timeoutMs, force)),
    );
  }

  async allocateCache(desc: BackendCacheDesc): Promise<Cache> {
    const size = tensorSize(desc.shape, desc.dataType);
    // What has no size is the library's to refuse.
    const tensorBytes = 'problem' in size ? 0n : size.byteLength;
    return { ...(await this.#calls.promise(this.#dist.allocateCache(...descFields(desc), tensorBytes))), desc };
  }

  deallocateCache(cacheId: bigint): Promise<void> {
    return this.#calls.promise(this.#dist.deallocateCache(cacheId));
  }

  copyKvCache(
    src: Cache,
    dst: Cache,
    srcBatchIndex: number,
    dstBatchIndex: number,
    offset: bigint,
    size: bigint,
  ): Promise<void> {
    return this.#calls.promise(
      this.#dist.copyKvCache(...cacheFields(src), ...cacheFields(dst), srcBatchIndex, dstBatchIndex, offset, size),
    );
  }

  copyKvBlocks(
    src: Cache,
    dst: Cache,
    srcBlocks: BigUint64Array,
    dstBlocksList: readonly BigUint64Array[],
  ): Promise<void> {
    return this.#calls.promise(
      this.#dist.copyKvBlocks(...cacheFields(src), ...cacheFields(dst), srcBlocks, dstBlocksList),
    );
  }

  registerKvCache(desc: BackendCacheDesc, addrs: BigUint64Array): Promise<bigint> {
    return this.#calls.promise(this.#dist.registerKvCache(...descFields(desc), addrs));
  }

  unregisterKvCache(cacheId: bigint): Promise<void> {
    return this.#calls.promise(this.#dist.unregisterKvCache(cacheId));
  }

  unregisterUnlinked(cacheIds: BigInt64Array): Promise<readonly number[]> {
    return this.#calls.promise(
      this.#dist.unregisterUnlinked(BigUint64Array.from(cacheIds, (id) => BigInt.asUintN(64, id))),
    );
  }

  // Spread arrays would cost a pull as much as the crossing does.
  pullKvCache(src: CacheIndex, dst: Cache, batchIndex: number, size: bigint, ext: KvCacheExtParam): Promise<void> {
    return this.#calls.promise(
      this.#dist.pullKvCache(
        src.clusterId,
        src.cacheId,
        src.batchIndex,
        dst.cacheId,
        batchIndex,
        size,
        ext.srcLayerRange[0],
        ext.srcLayerRange[1],
        ext.dstLayerRange[0],
        ext.dstLayerRange[1],
        ext.tensorNumPerLayer,
      ),
    );
  }

  pullKvBlocks(
    src: CacheIndex,
    dst: Cache,
    srcBlocks: BigUint64Array,
    dstBlocks: BigUint64Array,
    ext: KvCacheExtParam,
    limits = NO_LIMITS,
  ): Promise<void> {
    return this.#calls.promise(
      this.#dist.pullKvBlocks(
        src.clusterId,
        src.cacheId,
        src.batchIndex,
        dst.cacheId,
        ext.srcLayerRange[0],
        ext.srcLayerRange[1],
        ext.dstLayerRange[0],
        ext.dstLayerRange[1],
        ext.tensorNumPerLayer,
        srcBlocks,
        dstBlocks,
        limits.src,
        limits.dst,
      ),
    );
  }

  pushKvCache(src: Cache, dst: CacheIndex, srcBatchIndex: number, size: bigint, ext: KvCacheExtParam): Promise<void> {
    return this.#calls.promise(
      this.#dist.pushKvCache(...cacheFields(src), ...indexFields(dst), srcBatchIndex, size, ...extFields(ext)),
    );
  }

  pushKvBlocks(
    src: Cache,
    dst: CacheIndex,
    srcBlocks: BigUint64Array,
    dstBlocks: BigUint64Array,
    ext: KvCacheExtParam,
    limits = NO_LIMITS,
  ): Promise<void> {
    return this.#calls.promise(
      this.#dist.pushKvBlocks(
        ...cacheFields(src),
        ...indexFields(dst),
        ...extFields(ext),
        srcBlocks,
        dstBlocks,
        limits.src,
        limits.dst,
      ),
    );
  }

  malloc(byteLength: bigint, placement: number): Promise<bigint> {
    return this.#calls.promise(this.#dist.malloc(byteLength, isHost(placement)));
  }

  free(address: bigint): Promise<void> {
    return this.#calls.promise(this.#dist.free(address));
  }

  async write(address: bigint, data: Uint8Array): Promise<void> {
    if (data.length <= CHUNK_BYTES) return this.#calls.promise(this.#dist.write(address, data));
    return this.#inSeveralParts('write', (part) => this.#writeAt(address, data, part));
  }

  async read(address: bigint, byteLength: number): Promise<Uint8Array> {
    if (byteLength <= CHUNK_BYTES) return this.#calls.promise(this.#dist.read(address, byteLength));
    return this.#inSeveralParts('read', async (part) => {
      const bytes = allocated(byteLength);
      await this.#readInto(bytes, address, part);
      return bytes;
    });
  }

  copy(dst: bigint, src: bigint, byteLength: number): Promise<void> {
    return this.#calls.promise(this.#dist.copy(dst, src, BigInt(byteLength)));
  }

  copyRanges(dst: BigUint64Array, src: BigUint64Array, byteLengths: BigUint64Array): Promise<void> {
    return this.#calls.promise(this.#dist.copyRanges(dst, src, byteLengths));
  }

  async readRanges(addresses: BigUint64Array, byteLength: number): Promise<Uint8Array> {
    const atATime = rangesAtATime(byteLength);
    if (addresses.length <= atATime && byteLength <= CHUNK_BYTES)
      return this.#calls.promise(this.#dist.readRanges(addresses, byteLength));
    return this.#inSeveralParts('read', async (part) => {
      const bytes = allocated(addresses.length * byteLength);
      for (let first = 0; first < addresses.length; first += atATime) {
        const some = addresses.subarray(first, first + atATime);
        const start = first * byteLength;
        const place = bytes.subarray(start, start + some.length * byteLength);
        if (byteLength > CHUNK_BYTES) await this.#readInto(place, some[0] ?? 0n, part);
        else place.set(await part(() => this.#calls.promise(this.#dist.readRanges(some, byteLength))));
      }
      return bytes;
    });
  }

  async writeRanges(addresses: BigUint64Array, byteLength: number, data: Uint8Array): Promise<void> {
    const atATime = rangesAtATime(byteLength);
    const isInOne = addresses.length > 0 && addresses.length <= atATime && byteLength <= CHUNK_BYTES;
    if (isInOne) return this.#calls.promise(this.#dist.writeRanges(addresses, data));
    return this.#inSeveralParts('write', async (part) => {
      for (let first = 0; first < addresses.length; first += atATime) {
        const some = addresses.subarray(first, first + atATime);
        const bytes = data.subarray(first * byteLength, (first + some.length) * byteLength);
        if (byteLength > CHUNK_BYTES) await this.#writeAt(some[0] ?? 0n, bytes, part);
        else await part(() => this.#calls.promise(this.#dist.writeRanges(some, bytes)));
      }
    });
  }

  abandon(): void {
    this.#dist.abandon();
  }

  controlElapsedMs(): number {
    return this.#dist.elapsedMs();
  }

  runningTransfer(kind: TransferKind, clusterId: bigint): RunningTransfer | undefined {
    return this.#dist.runningTransfer(kind === 'push', clusterId);
  }

  giveUpTransfers(kind: TransferKind, clusterId: bigint | undefined): Promise<void> | undefined {
    return this.#dist.giveUpTransfers(kind === 'push', clusterId ?? 0n, clusterId === undefined);
  }

  lastCall(): number {
    return this.#dist.lastCall();
  }

  withdraw(call: number): boolean {
    const parts = this.#inParts.get(call);
    if (parts === undefined) return this.#dist.withdraw(call);
    // The present part may run; none comes after it.
    parts.isWithdrawn = true;
    return this.#dist.withdraw(parts.present);
  }

  async #writeAt(address: bigint, data: Uint8Array, part: Part): Promise<void> {
    for (let start = 0; start < data.length; start += CHUNK_BYTES) {
      await part(() =>
        this.#calls.promise(this.#dist.write(address + BigInt(start), data.subarray(start, start + CHUNK_BYTES))),
      );
    }
  }

  async #readInto(bytes: Uint8Array, address: bigint, part: Part): Promise<void> {
    for (let start = 0; start < bytes.length; start += CHUNK_BYTES) {
      const length = Math.min(CHUNK_BYTES, bytes.length - start);
      bytes.set(await part(() => this.#calls.promise(this.#dist.read(address + BigInt(start), length))), start);
    }
  }

  /** @param work makes its parts one after the other, the first one at once */
  async #inSeveralParts<T>(operation: 'read' | 'write', work: (part: Part) => Promise<T>): Promise<T> {
    const call: CallInParts = { present: 0, isWithdrawn: false };
    let first = 0;
    const part: Part = (make) => {
      if (call.isWithdrawn) throw withdrawnBetweenParts(operation);
      const answer = make();
      call.present = this.#dist.lastCall();
      if (first === 0) {
        first = call.present;
        this.#inParts.set(first, call);
      }
      return answer;
    };
    try {
      return await work(part);
    } finally {
      this.#inParts.delete(first);
    }
  }
}

/** A call that goes to the library in parts. */
interface CallInParts {
  /** The number of the part that was made last. */
  present: number;
  isWithdrawn: boolean;
}

/** Makes one part of a call. */
type Part = <T>(make: () => Promise<T>) => Promise<T>;

function withdrawnBetweenParts(operation: 'read' | 'write'): LLMException {
  return new LLMException(LLMStatusCode.LLM_FAILED, {
    operation,
    message: 'the call was withdrawn before all parts of it had got to the library',
  });
}

/** How many ranges are copied in one go on the JavaScript thread; of larger ones one at a time. */
function rangesAtATime(byteLength: number): number {
  return Math.max(1, Math.floor(CHUNK_BYTES / byteLength));
}

/** The device of the memory functions; -1 for none. What is wrong with the option the library says itself. */
function deviceOf(options: BackendOptions): number {
  const [digits] = /^\d{1,9}/.exec(options['llm.DeviceId'] ?? '') ?? [];
  return digits === undefined ? -1 : Number(digits);
}

function allocated(byteLength: number): Uint8Array {
  try {
    return new Uint8Array(byteLength);
  } catch (cause) {
    throw new LLMException(LLMStatusCode.LLM_OUT_OF_MEMORY, {
      operation: 'read',
      message: `${byteLength} bytes cannot be allocated for the result`,
      cause,
    });
  }
}

async function onClusters<T>(clusters: readonly ClusterInfo[], call: () => Promise<T>): Promise<T> {
  const start = nodeTimers.now();
  try {
    return await call();
  } catch (error) {
    throw namePeers(error, clusters, nodeTimers.now() - start);
  }
}

function clusterLists(clusters: readonly ClusterInfo[]): ClusterLists {
  const addresses = clusters.flatMap(({ localIpInfos, remoteIpInfos }) => [...localIpInfos, ...remoteIpInfos]);
  return [
    BigUint64Array.from(clusters, ({ remoteClusterId }) => remoteClusterId),
    Int32Array.from(clusters, ({ remoteRoleType }) => remoteRoleType),
    Uint32Array.from(clusters, ({ localIpInfos }) => localIpInfos.length),
    Uint32Array.from(clusters, ({ remoteIpInfos }) => remoteIpInfos.length),
    addresses.map(({ ip }) => ip),
    Uint32Array.from(addresses, ({ port }) => port),
  ];
}

function descFields({ placement, numTensors, dataType, shape }: BackendCacheDesc): DescFields {
  return [placement, numTensors, dataType, BigInt64Array.from(shape)];
}

function cacheFields({ cacheId, tensorAddrs, desc }: Cache): CacheFields {
  return [cacheId, tensorAddrs, ...descFields(desc)];
}

function indexFields({ clusterId, cacheId, batchIndex }: CacheIndex): IndexFields {
  return [clusterId, cacheId, batchIndex];
}

function extFields({ srcLayerRange, dstLayerRange, tensorNumPerLayer }: KvCacheExtParam): ExtFields {
  return [srcLayerRange[0], srcLayerRange[1], dstLayerRange[0], dstLayerRange[1], tensorNumPerLayer];
}

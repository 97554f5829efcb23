/**
 * The seam: the only interface between the public classes and what does the work.
 *
 * It is the C++ class `llm_datadist::LlmDataDist` one to one, plus the memory functions of the Ascend runtime. One
 * `Backend` object stands for one C++ object: whoever constructs it gives it its cluster id and role.
 *
 * What a caller may rely on, and an implementation may expect:
 * - Arguments have the right JavaScript type and fit the C++ type; whether they make sense is for the backend to say.
 * - They are the backend's own: nobody changes a list or an object after the call, and the backend must not either.
 * - A status other than success is a rejection with an `LLMException`. Nothing else is ever rejected with.
 * - Calls may overlap, but control calls (`initialize`, `finalize`, `setRole`, link, unlink, register, unregister) do not
 *   overlap each other, an unlink does not overlap transfers with its clusters, and an unregister none of its cache.
 *   `finalize` is called only when no other call of this object is in flight.
 */
export interface Backend {
  /** `native`, `mock`, or another name. */
  readonly name: string;
  /**
   * Whether block transfers read their lists before they return and refuse numbers beyond `limits` themselves, with
   * `LLM_PARAM_INVALID`. Their lists are the caller's then: to copy and look through thousands of blocks costs as much as
   * the rest of the call.
   */
  readonly readsBlocksAtOnce?: boolean;
  /**
   * Whose time the deadlines of calls are measured in (`hangTimeout`): for a backend whose time does not pass by itself.
   * Without it, the clock on the wall's.
   */
  readonly clock?: DeadlineClock | undefined;
  /**
   * For a backend that works on the thread of JavaScript: its calls settle in later turns of the event loop. What the package
   * answers without it then takes a turn too, so that no loop of calls, whatever comes of them, keeps timers and I/O from running.
   */
  readonly turns?: Turns;

  /** C++ `Initialize`. Keys and values are what the C++ library reads; unknown keys are ignored. */
  initialize(options: BackendOptions): Promise<void>;
  /** C++ `Finalize`. Never fails; does nothing when not initialised. The object can be initialised again. */
  finalize(): Promise<void>;
  /** C++ `SetRole`. `role` is any int32. */
  setRole(role: number, options: BackendOptions): Promise<void>;

  /**
   * C++ `LinkLlmClusters`. `timeoutMs` is an int32.
   * @returns one status per cluster, in input order, all of them success. Otherwise the rejection's `results` has them.
   */
  linkLlmClusters(clusters: readonly ClusterInfo[], timeoutMs: number): Promise<readonly number[]>;
  /** C++ `UnlinkLlmClusters`; results as in {@link linkLlmClusters}. */
  unlinkLlmClusters(clusters: readonly ClusterInfo[], timeoutMs: number, force: boolean): Promise<readonly number[]>;

  /** C++ `AllocateCache`: today's library answers `LLM_FEATURE_NOT_ENABLED`. */
  allocateCache(desc: BackendCacheDesc): Promise<Cache>;
  /** C++ `DeallocateCache`: as {@link allocateCache}. */
  deallocateCache(cacheId: bigint): Promise<void>;
  /** C++ `CopyKvCache`: as {@link allocateCache}. `offset` and `size` in bytes, `size` -1 for the rest of the row. */
  copyKvCache(
    src: Cache,
    dst: Cache,
    srcBatchIndex: number,
    dstBatchIndex: number,
    offset: bigint,
    size: bigint,
  ): Promise<void>;
  /**
   * C++ `CopyKvBlocks`: as {@link allocateCache}. Each list of destinations is as long as the list of sources: source block
   * `i` goes to block `i` of every list. Empty lists are refused.
   */
  copyKvBlocks(
    src: Cache,
    dst: Cache,
    srcBlocks: BigUint64Array,
    dstBlocksList: readonly BigUint64Array[],
  ): Promise<void>;

  /** C++ `RegisterKvCache`. @returns the cache id. */
  registerKvCache(desc: BackendCacheDesc, addrs: BigUint64Array): Promise<bigint>;
  /** C++ `UnregisterKvCache`. An unknown id succeeds. */
  unregisterKvCache(cacheId: bigint): Promise<void>;

  /**
   * Unregisters caches one after the other as long as no link of this object can be left, on whichever side it was made, and no
   * peer can be making one: that and the unregistration are one step for peers. The library itself has no such call; a backend
   * without it has caches of an instance that listens wait for a role switch or for `finalize`.
   * @returns one status for each cache that was tried, in order: none where a link may be left
   */
  unregisterUnlinked?(cacheIds: BigInt64Array): Promise<readonly number[]>;

  /** C++ `PullKvCache`. `size` in bytes, -1 for a whole row. Of `dst` the library reads the id only. */
  pullKvCache(src: CacheIndex, dst: Cache, batchIndex: number, size: bigint, ext: KvCacheExtParam): Promise<void>;
  /** C++ `PullKvBlocks`. `limits` as {@link readsBlocksAtOnce} says. */
  pullKvBlocks(
    src: CacheIndex,
    dst: Cache,
    srcBlocks: BigUint64Array,
    dstBlocks: BigUint64Array,
    ext: KvCacheExtParam,
    limits?: BlockLimits,
  ): Promise<void>;
  /**
   * C++ `PushKvCache`. Of `src` the library reads id, placement and number of tensors.
   * @param progress what the backend writes to as it comes to know it
   */
  pushKvCache(
    src: Cache,
    dst: CacheIndex,
    srcBatchIndex: number,
    size: bigint,
    ext: KvCacheExtParam,
    progress?: PushProgress,
  ): Promise<void>;
  /** C++ `PushKvBlocks`. `limits` as {@link readsBlocksAtOnce} says, `progress` as {@link pushKvCache} does. */
  pushKvBlocks(
    src: Cache,
    dst: CacheIndex,
    srcBlocks: BigUint64Array,
    dstBlocks: BigUint64Array,
    ext: KvCacheExtParam,
    limits?: BlockLimits,
    progress?: PushProgress,
  ): Promise<void>;

  /** `aclrtMalloc` (device) or `aclrtMallocHost` (host). @returns the address, never 0. */
  malloc(byteLength: bigint, placement: number): Promise<bigint>;
  /** `aclrtFree` or `aclrtFreeHost`. */
  free(address: bigint): Promise<void>;
  /** `aclrtMemcpy` from the host. The address may lie in the middle of an allocation. The caller does not change `data` after the call. */
  write(address: bigint, data: Uint8Array): Promise<void>;
  /** `aclrtMemcpy` to the host. @returns bytes of the caller's own. */
  read(address: bigint, byteLength: number): Promise<Uint8Array>;
  /** `aclrtMemcpy` within the backend's memory. Without it the package copies through `read` and `write`. */
  copy?(dst: bigint, src: bigint, byteLength: number): Promise<void>;
  /**
   * As {@link copy} for many places in one call: `byteLengths[i]` bytes from `src[i]` to `dst[i]`, one after the other. No copy
   * overlaps itself; a later one may read what an earlier one has written. Those before one that fails stay made.
   */
  copyRanges?(dst: BigUint64Array, src: BigUint64Array, byteLengths: BigUint64Array): Promise<void>;
  /** As {@link read} for many places in one call. @returns `byteLength` bytes of each, one behind the other */
  readRanges?(addresses: BigUint64Array, byteLength: number): Promise<Uint8Array>;
  /**
   * As {@link write} for many places in one call: `byteLength` bytes to each, one after the other, which lie one behind the
   * other in `data`.
   */
  writeRanges?(addresses: BigUint64Array, byteLength: number, data: Uint8Array): Promise<void>;

  /**
   * The instance is lost: a call has not come back in time. Called once, and no other call follows. What has not come back
   * is not waited for any more and should be rejected, whatever happens to it inside; nothing may keep the process
   * alive for it. C++ has no counterpart.
   */
  abandon?(): void;
  /** How long after an unlink a device may still do what the link has begun, in milliseconds. Default 0. */
  readonly settleAfterUnlinkMs?: number;
  /**
   * A number for the call that was made last, by which {@link withdraw} knows it: each call has a greater one than the call
   * before it. It is asked for in the turn in which the call was made, and before that, so that a call that was not made shows.
   */
  lastCall?(): number;
  /**
   * Takes a call back that still waits in a queue of the backend: it never reaches the library. Of a call in several parts those
   * that wait or are still to come never reach it. The promise of the call settles; its result is not used.
   * @returns whether nothing of the call is in the library now, and nothing of it will be. False where it runs or has ended
   */
  withdraw?(call: number): boolean;
  /** Whether the process that it stands for has died, and its memory with it: there is nothing left to warn of at the end. */
  readonly isDead?: boolean;
  /**
   * Whether it is not initialised, so that nothing uses its memory. Where `finalize` rejects, memory is freed only when this is
   * true; without it the memory stays allocated.
   */
  readonly hasEnded?: boolean;
  /**
   * Whether the last `finalize` was rejected before it got to the library, because a call of another instance has not come back from
   * there. The instance stays initialised then, and can be finalized when that call has come back.
   */
  readonly wasBarred?: boolean;
  /**
   * How many milliseconds the present control call has been inside the library; 0 while it still waits for another
   * instance of the process. Without it the time since the call was made counts against its deadline.
   */
  controlElapsedMs?(): number;
  /**
   * Whether each transfer ends by itself, so that none has to be watched. Without it, and without the two methods below,
   * each promise of a transfer is waited for with one of the package's own, which can be given up.
   */
  readonly transfersEnd?: boolean;
  /**
   * The transfer that has been inside the library longest, of the pulls from a peer or of all pushes: which ones it does one
   * after the other. `undefined` where none has begun.
   */
  runningTransfer?(kind: TransferKind, clusterId: bigint): RunningTransfer | undefined;
  /**
   * Transfers with a peer (or all pushes, without one) are not waited for any more. Those that have not begun never begin, and
   * are rejected. The one that is inside the library is rejected at once, and until it comes back it takes no thread from
   * others. `released` of these exceptions settles when nothing of the call can go on: of the one inside when it comes back, as its
   * promise would have. Where {@link readsBlocksAtOnce} is set, the exception of the one inside has `blocks`, the
   * `BigUint64Array` of blocks of this side that it was called with. Without that all rows of its cache count as in use.
   * @returns `released` of the one inside, where there is one that was not given up before
   */
  giveUpTransfers?(kind: TransferKind, clusterId: bigint | undefined): Promise<void> | undefined;
}

/** Transfers of one kind share what they wait for: pulls the link of their peer, pushes one lock of the instance. */
export type TransferKind = 'pull' | 'push';

export interface RunningTransfer {
  /** Since it began. */
  readonly elapsedMs: number;
  /** Its peer. */
  readonly clusterId: bigint;
}

/** Turns of the event loop that a backend waits for before its calls settle. */
export interface Turns {
  /** How many such turns there were. */
  readonly count: number;
  /** Resolves in the next turn, in the order of the calls. */
  next(): Promise<void>;
}

/** The clock of a backend whose time does not pass by itself. */
export interface DeadlineClock {
  /** Milliseconds since some fixed point. */
  now(): number;
  /**
   * Calls `expire` once when `ms` milliseconds have passed, and after everything else that happens in the same moment.
   * @returns what calls it off
   */
  deadline(ms: number, expire: () => void): () => void;
}

/** Makes the backend of one instance, as the C++ constructor makes the object. */
export type BackendFactory = (clusterId: bigint, role: number) => Backend;

/** C++ `std::map<AscendString, AscendString>`. */
export type BackendOptions = Readonly<Record<string, string>>;

/** C++ `IpInfo`. */
export interface IpInfo {
  readonly ip: string;
  /** 0 to 65535. */
  readonly port: number;
}

/** C++ `ClusterInfo`. */
export interface ClusterInfo {
  readonly remoteClusterId: bigint;
  readonly remoteRoleType: number;
  readonly localIpInfos: readonly IpInfo[];
  readonly remoteIpInfos: readonly IpInfo[];
}

/** C++ `CacheDesc`. */
export interface BackendCacheDesc {
  /** uint32 */
  readonly numTensors: number;
  /** int32, a `DataType` or not */
  readonly dataType: number;
  /** int64 each */
  readonly shape: readonly bigint[];
  /** uint32, a `Placement` or not: the library takes anything but 1 for host */
  readonly placement: number;
}

/** C++ `Cache`: a cache of this side. */
export interface Cache {
  /** int64 */
  readonly cacheId: bigint;
  readonly tensorAddrs: BigUint64Array;
  readonly desc: BackendCacheDesc;
}

/** C++ `CacheIndex`: a cache of the other side. */
export interface CacheIndex {
  /** uint64 */
  readonly clusterId: bigint;
  /** int64 */
  readonly cacheId: bigint;
  /** uint32 */
  readonly batchIndex: number;
}

/** The largest block numbers that are allowed in the lists of a transfer; `Infinity` for no limit. */
export interface BlockLimits {
  readonly src: number;
  readonly dst: number;
}

/** How far a push has come. The backend changes it, and may do so after the push was given up. */
export interface PushProgress {
  /** Layers that are written completely, from the first one on; `undefined` where the backend does not learn it. */
  layersCompleted: number | undefined;
}

/** Inclusive first and last layer; `[-1, -1]` is the default range. */
export type LayerRange = readonly [first: number, last: number];

/** C++ `KvCacheExtParam`. */
export interface KvCacheExtParam {
  /** int32 each */
  readonly srcLayerRange: LayerRange;
  readonly dstLayerRange: LayerRange;
  /** uint8 */
  readonly tensorNumPerLayer: number;
}

export const DEFAULT_LAYER_RANGE: LayerRange = Object.freeze([-1, -1] as const);

/** What a default-constructed `KvCacheExtParam` holds. */
export const DEFAULT_EXT_PARAM: KvCacheExtParam = Object.freeze({
  srcLayerRange: DEFAULT_LAYER_RANGE,
  dstLayerRange: DEFAULT_LAYER_RANGE,
  tensorNumPerLayer: 2,
});

/** What a default-constructed `CacheDesc` holds; its data type is `DT_UNDEFINED`. */
export const DEFAULT_CACHE_DESC: BackendCacheDesc = Object.freeze({
  numTensors: 0,
  dataType: 28,
  shape: Object.freeze([]),
  placement: 1,
});

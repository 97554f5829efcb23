import { inspect } from 'node:util';
import type { InspectOptionsStylized } from 'node:util';
import type { Backend, BackendCacheDesc, Cache, KvCacheExtParam, LayerRange } from './backend/backend';
import { DEFAULT_CACHE_DESC, DEFAULT_EXT_PARAM } from './backend/backend';
import { BlockLists } from './block-lists';
import { COPY_OPTIONS, copyBlocks, copyCache, swapBlocks } from './cache-copy';
import type { CopyCacheOptions } from './cache-copy';
import { allocateCache, registerCache } from './cache-registration';
import { deallocateCache, unregisterCache } from './cache-unregistration';
import type { CacheDesc, CacheKeyByIdAndIndex, CheckedDesc, CheckedKey, KvCache, LocalCache } from './cache';
import { checkDesc, checkKey, DescribedCache, RegisteredCache } from './cache';
import { checkCallOptions, limitsOf } from './call-options';
import type { CallOptions } from './call-options';
import { checkInt64, checkOptions, checkUint32, checkUint64List, invalidArgType } from './check';
import { checkExtParam, ROW_TRANSFER_OPTIONS, TRANSFER_OPTIONS } from './transfer-options';
import type { BlockList, PullCacheOptions, PullOptions, PushOptions } from './transfer-options';
import { refusal } from './guard/rule';
import type { LimitedCall } from './limited-call';
import type { Transfer } from './guard/transfer';
import { guardLayers, guardRowAgainstLayout } from './guard/transfer';
import { inspected } from './inspection';
import type { Instance } from './instance';
import { OverLink } from './over-link';
import { PushLayers } from './push-layers';
import type { Registration } from './registrations';
import { takeTurns } from './turns';

/**
 * Registers KV caches and moves them between linked clusters.
 *
 * Every method rejects with a `TypeError` or `RangeError` for a value of the wrong type or size, before anything has
 * happened, and with an {@link LLMException} for what a guard or the library refuses.
 *
 * C++: the cache methods of `LlmDataDist`; Python: `CacheManager` (and `KvCacheManager` of the older engine).
 */
export class KvCacheManager {
  readonly #instance: Instance;

  static {
    const methods = [
      'registerCache',
      'unregisterCache',
      'allocateCache',
      'deallocateCache',
      'pullCache',
      'pullBlocks',
      'pushCache',
      'pushBlocks',
      'copyCache',
      'copyBlocks',
      'swapBlocks',
    ] as const;
    takeTurns(KvCacheManager.prototype, methods, (manager) =>
      typeof manager === 'object' && manager !== null && #instance in manager
        ? manager.#instance.backend.turns
        : undefined,
    );
  }

  /** @internal */
  constructor(instance: Instance) {
    this.#instance = instance;
  }

  /**
   * Makes memory known to the transport and to peers. Register everything, then link: peers copy the list of caches
   * once per link, and memory is bound to a link when the link is made.
   *
   * @param desc the cache; `desc.numTensors` must be the number of addresses
   * @param addrs virtual address of each tensor, none 0; the memory stays the caller's, and must outlive the cache
   * @throws LLMException `LLM_PARAM_INVALID` for a description that makes no sense or a guard's rule; `LLM_FAILED` when not
   *   initialised, or where the transport refuses the memory: it may keep a part, so that `free()` takes effect and the
   *   memory can be registered again when the instance is finalized; `LLM_TIMEOUT` with the recovery `fatal` when it hangs
   *
   * C++ `RegisterKvCache`, Python `register_cache` / `register_blocks_cache`.
   */
  async registerCache(
    desc: CacheDesc,
    addrs: readonly (bigint | number)[] | BigUint64Array,
    call?: CallOptions,
  ): Promise<KvCache> {
    const description = checkDesc(desc, 'desc');
    const limits = checkCallOptions(call);
    const addresses = checkUint64List(addrs, 'addrs');
    return await registerCache(this.#instance, description, addresses, limits);
  }

  /**
   * Makes a cache unknown again, when the transfers and local copies of it that run have ended. Later ones are rejected. An
   * id that is not registered succeeds.
   *
   * Unlink first. A link that was made while the cache was registered holds its memory, and the library does not survive
   * that it is unregistered before the link is gone. So the library unregisters it later, when no such link can be left:
   * when those are unlinked that this instance made, and, where it listens and so may be linked to unseen, when the backend
   * finds no link with this or a later call that registers or unregisters, or a `switchRole` has succeeded (over the library
   * with hixl, when it is finalized). From 100 waiting caches on a warning says so. Until then peers can go on
   * reading and writing the memory, and it cannot be registered again; nothing else is to be noticed.
   * With `guards: false` the library unregisters it at once.
   *
   * @throws LLMException `LLM_FAILED` when not initialised, or where the library refuses (hixl, linked, without guards);
   *   `LLM_TIMEOUT` with the recovery `fatal` when it hangs
   *
   * C++ `UnregisterKvCache`, Python `unregister_cache`.
   */
  async unregisterCache(cache: LocalCache, call?: CallOptions): Promise<void> {
    const { cacheId } = this.#local(cache, 'cache', 'unregisterCache');
    await unregisterCache(this.#instance, cacheId, checkCallOptions(call));
  }

  /**
   * Allocates one memory region per tensor and registers them.
   *
   * @throws LLMException as {@link registerCache}; `LLM_DEVICE_OUT_OF_MEMORY` or `LLM_OUT_OF_MEMORY` when there is not
   *   enough; what was allocated is freed
   *
   * C++ `AllocateCache`, which today's library does not implement: the package uses `aclrtMalloc` then. Where the library
   * does, as the older engine, the memory is its own: the cache has no `regions`, and {@link deallocateCache} ends it. Python
   * `allocate_cache` / `allocate_blocks_cache`.
   */
  async allocateCache(desc: CacheDesc, call?: CallOptions): Promise<KvCache> {
    return await allocateCache(this.#instance, checkDesc(desc, 'desc'), checkCallOptions(call));
  }

  /**
   * Unregisters a cache that {@link allocateCache} made and frees its regions, as {@link unregisterCache} and
   * `MemoryRegion.free` do.
   *
   * @throws LLMException `LLM_PARAM_INVALID` for a cache whose memory is the caller's, or one that was deallocated before;
   *   otherwise as {@link unregisterCache}
   *
   * C++ `DeallocateCache`, Python `deallocate_cache` / `deallocate_blocks_cache`.
   */
  async deallocateCache(cache: KvCache, call?: CallOptions): Promise<void> {
    const own = this.#own(cache, 'cache', 'deallocateCache');
    await deallocateCache(this.#instance, own, checkCallOptions(call));
  }

  /**
   * Copies one row of a remote cache into one row of a local one.
   *
   * @param src the remote cache and its row
   * @param dst the local cache
   * @param batchIndex the local row, uint32, default 0
   * @throws LLMException `LLM_KV_CACHE_NOT_EXIST` for a cache that this side does not have, or that the peer had not when
   *   its list was copied; `LLM_NOT_YET_LINK`; `LLM_TIMEOUT`; `LLM_PARAM_INVALID`; `LLM_FAILED` and raw runtime numbers
   *   when the transport fails: part of the row may be written then
   *
   * C++ `PullKvCache`, Python `pull_cache`.
   */
  async pullCache(
    src: CacheKeyByIdAndIndex,
    dst: LocalCache,
    batchIndex = 0,
    options?: PullCacheOptions,
  ): Promise<void> {
    const operation = 'pullCache';
    const remote = checkKey(src, 'src');
    const cache = this.#local(dst, 'dst', operation);
    const row = checkUint32(batchIndex, 'batchIndex');
    const fields = checkOptions(options, 'options', ROW_TRANSFER_OPTIONS);
    const { size: wanted } = fields;
    const size = wanted === undefined ? -1n : checkInt64(wanted, 'options.size');
    const ext = this.#ext(cache, fields);
    const limits = limitsOf(fields);
    const over = new OverLink(this.#instance, operation, remote);
    const start = (local: Registration | undefined, call: LimitedCall | undefined) => {
      const transfer = this.#guard(operation, remote, local, ext.dstLayerRange, ext.srcLayerRange, ext);
      if (transfer !== undefined)
        guardRowAgainstLayout(transfer, size > 0n ? size : (transfer.local?.size.rowBytes ?? 0n));
      this.#access(operation, call, local, [row]);
      return over.start(local, call, () => this.#backend.pullKvCache(remote, cache, row, size, ext));
    };
    await this.#instance.transfer(over, cache.cacheId, start, row, limits);
  }

  /**
   * Copies blocks of a remote cache into blocks of a local one: block `srcBlocks[i]` into block `dstBlocks[i]`, in every
   * tensor. Neighbours on both sides are copied as one.
   *
   * @param src the remote cache; its row must be 0
   * @throws LLMException as {@link pullCache}
   *
   * C++ `PullKvBlocks`, Python `pull_blocks`.
   */
  async pullBlocks(
    src: CacheKeyByIdAndIndex,
    dst: LocalCache,
    srcBlocks: BlockList,
    dstBlocks: BlockList,
    options?: PullOptions,
  ): Promise<void> {
    const operation = 'pullBlocks';
    const remote = checkKey(src, 'src');
    const cache = this.#local(dst, 'dst', operation);
    const fields = options === undefined ? undefined : checkOptions(options, 'options', TRANSFER_OPTIONS);
    const ext = this.#ext(cache, fields);
    const limits = fields === undefined ? undefined : limitsOf(fields);
    // Last, because no code of the caller's runs from here on until they have been read.
    const lists = new BlockLists(this.#backend, srcBlocks, dstBlocks);
    const over = new OverLink(this.#instance, operation, remote);
    const start = (local: Registration | undefined, call: LimitedCall | undefined) => {
      const transfer = this.#guard(operation, remote, local, ext.dstLayerRange, ext.srcLayerRange, ext);
      const limits = transfer && lists.guard(transfer);
      this.#access(operation, call, local, lists.dst);
      return over.start(local, call, () =>
        this.#backend.pullKvBlocks(remote, cache, lists.src, lists.dst, ext, limits),
      );
    };
    await this.#instance.transfer(over, cache.cacheId, start, lists, limits);
  }

  /**
   * Copies one row of a local cache into one row of a remote one, layer by layer: the layers before the one that fails
   * stay written. `layersCompleted` of the exception says how many, where the backend learns it.
   *
   * @param dst the remote cache and its row
   * @param src the local cache, in device memory
   * @param srcBatchIndex the local row, uint32, default 0
   * @throws LLMException as {@link pullCache}
   *
   * C++ `PushKvCache`, Python `push_cache`.
   */
  async pushCache(
    dst: CacheKeyByIdAndIndex,
    src: LocalCache,
    srcBatchIndex = 0,
    options?: PushOptions & { readonly size?: bigint | number },
  ): Promise<void> {
    const operation = 'pushCache';
    const remote = checkKey(dst, 'dst');
    const cache = this.#local(src, 'src', operation);
    const row = checkUint32(srcBatchIndex, 'srcBatchIndex');
    const fields = checkOptions(options, 'options', ROW_TRANSFER_OPTIONS);
    const { size: wanted } = fields;
    const size = wanted === undefined ? -1n : checkInt64(wanted, 'options.size');
    const ext = this.#ext(cache, fields);
    const limits = limitsOf(fields);
    const layers = new PushLayers();
    const over = new OverLink(this.#instance, operation, remote);
    const start = (local: Registration | undefined, call: LimitedCall | undefined) => {
      const transfer = this.#guard(operation, remote, local, ext.srcLayerRange, ext.dstLayerRange, ext);
      if (transfer !== undefined) guardRowAgainstLayout(transfer, transfer.local?.size.rowBytes ?? 0n);
      this.#access(operation, call, local, [row]);
      const source = this.#described(cache, local, ext);
      return over.start(local, call, () => {
        layers.begin(ext, source.desc);
        return this.#backend.pushKvCache(source, remote, row, size, ext, layers);
      });
    };
    try {
      await this.#instance.transfer(over, cache.cacheId, start, row, limits);
    } catch (error) {
      throw layers.explain(error, this.#isReachable);
    }
  }

  /**
   * Copies blocks of a local cache into blocks of a remote one, layer by layer, as {@link pushCache} does.
   *
   * @param dst the remote cache; its row must be 0
   * @throws LLMException as {@link pullCache}
   *
   * C++ `PushKvBlocks`, Python `push_blocks`.
   */
  async pushBlocks(
    dst: CacheKeyByIdAndIndex,
    src: LocalCache,
    srcBlocks: BlockList,
    dstBlocks: BlockList,
    options?: PushOptions,
  ): Promise<void> {
    const operation = 'pushBlocks';
    const remote = checkKey(dst, 'dst');
    const cache = this.#local(src, 'src', operation);
    const fields = options === undefined ? undefined : checkOptions(options, 'options', TRANSFER_OPTIONS);
    const ext = this.#ext(cache, fields);
    const limits = fields === undefined ? undefined : limitsOf(fields);
    const lists = new BlockLists(this.#backend, srcBlocks, dstBlocks);
    const layers = new PushLayers();
    const over = new OverLink(this.#instance, operation, remote);
    const start = (local: Registration | undefined, call: LimitedCall | undefined) => {
      const transfer = this.#guard(operation, remote, local, ext.srcLayerRange, ext.dstLayerRange, ext);
      const limits = transfer && lists.guard(transfer);
      this.#access(operation, call, local, lists.src);
      const source = this.#described(cache, local, ext);
      return over.start(local, call, () => {
        layers.begin(ext, source.desc);
        return this.#backend.pushKvBlocks(source, remote, lists.src, lists.dst, ext, limits, layers);
      });
    };
    try {
      await this.#instance.transfer(over, cache.cacheId, start, lists, limits);
    } catch (error) {
      throw layers.explain(error, this.#isReachable);
    }
  }

  /**
   * Copies one row of a local cache into a row of another one of this instance, in every tensor.
   *
   * @throws LLMException `LLM_KV_CACHE_NOT_EXIST` for a cache that is not registered any more; `LLM_PARAM_INVALID` when the
   *   numbers of tensors differ or a row, offset or size is out of range
   *
   * C++ `CopyKvCache`, Python `copy_cache`.
   */
  async copyCache(dst: KvCache, src: KvCache, options?: CopyCacheOptions): Promise<void> {
    const to = this.#own(dst, 'dst', 'copyCache');
    const from = this.#own(src, 'src', 'copyCache');
    await copyCache(this.#instance, to, from, checkOptions(options, 'options', COPY_OPTIONS));
  }

  /**
   * Copies blocks inside one local cache, in every tensor: each source block to each of its destinations.
   *
   * @param srcToDst source block → destination blocks, uint32 each; read in order of insertion. Up to 1,048,576 source
   *   blocks, and as many destinations in all lists together
   * @throws RangeError beyond these limits, before a list is copied
   * @throws LLMException as {@link copyCache}
   *
   * C++ `CopyKvBlocks`, Python `copy_blocks`.
   */
  async copyBlocks(
    cache: KvCache,
    srcToDst: ReadonlyMap<number, readonly number[]>,
    call?: CallOptions,
  ): Promise<void> {
    const own = this.#own(cache, 'cache', 'copyBlocks');
    await copyBlocks(this.#instance, own, srcToDst, checkCallOptions(call));
  }

  /**
   * Copies blocks between a cache in host memory and one in device memory of this instance, either way.
   *
   * @param srcToDst source block → destination block, uint32 each; up to 1,048,576 pairs
   * @throws RangeError beyond this limit
   * @throws LLMException as {@link copyCache}; `LLM_PARAM_INVALID` unless exactly one side is host memory
   *
   * Python `swap_blocks`; C++ has none.
   */
  async swapBlocks(
    src: KvCache,
    dst: KvCache,
    srcToDst: ReadonlyMap<number, number>,
    call?: CallOptions,
  ): Promise<void> {
    const from = this.#own(src, 'src', 'swapBlocks');
    const to = this.#own(dst, 'dst', 'swapBlocks');
    await swapBlocks(this.#instance, from, to, srcToDst, checkCallOptions(call));
  }

  /** The manager for logs. */
  toJSON(): Record<string, unknown> {
    return { ...this.#summary(), clusterId: String(this.#instance.clusterId) };
  }

  /** @internal */
  [inspect.custom](depth: number | null, options: InspectOptionsStylized): string {
    return inspected('KvCacheManager', this.#summary(), depth, options);
  }

  #summary() {
    const { clusterId, registrations } = this.#instance;
    return { clusterId, caches: registrations.count };
  }

  /** Whether peers may unlink or link anew at any time. */
  get #isReachable(): boolean {
    return this.#instance.links.listenIpInfo !== undefined;
  }

  get #backend(): Backend {
    return this.#instance.backend;
  }

  /** A local cache as C++ would take it: a handle's description goes with it, a bare id has none. */
  #local(value: unknown, name: string, operation: string): LocalSide {
    if (RegisteredCache.is(value)) {
      if (this.#instance.guards) this.#checkOrigin(value, operation);
      const { cacheId, desc, addrs } = RegisteredCache.registrationOf(value);
      return { cacheId, desc, tensorAddrs: addrs };
    }
    if (DescribedCache.is(value)) return { cacheId: value.cacheId, desc: value.desc, tensorAddrs: NO_ADDRESSES };
    if (typeof value !== 'bigint' && typeof value !== 'number') {
      throw invalidArgType(name, HANDLE_OR_ID, value);
    }
    return { cacheId: checkInt64(value, name), desc: DEFAULT_CACHE_DESC, tensorAddrs: NO_ADDRESSES };
  }

  /** What a transfer moves of a local cache. */
  #ext(cache: LocalSide, options: Record<string, unknown> | undefined): KvCacheExtParam {
    // Of a bare id nothing is known but what was registered under it.
    const isBare = cache.desc === DEFAULT_CACHE_DESC;
    const { tensorsPerLayer } = (isBare ? this.#instance.registrations.get(cache.cacheId)?.desc : cache.desc) ?? {};
    if (options !== undefined) return checkExtParam(options, tensorsPerLayer);
    return tensorsPerLayer === undefined ? DEFAULT_EXT_PARAM : checkExtParam({}, tensorsPerLayer);
  }

  /** A handle of this instance: what works on memory needs more than an id. */
  #own(value: unknown, name: string, operation: string): RegisteredCache {
    if (!RegisteredCache.is(value)) {
      throw invalidArgType(name, HANDLE, value);
    }
    this.#checkOrigin(value, operation);
    return value;
  }

  #checkOrigin(cache: RegisteredCache, operation: string): void {
    // Before init and after finalize there is one answer to everything, and the call is going to get it.
    if (!this.#instance.isInitialized || RegisteredCache.isOf(cache, this.#instance)) return;
    throw refusal(
      'own-cache',
      operation,
      `the handle of cache ${cache.cacheId} does not come from the present life of this instance (cluster ${this.#instance.clusterId})`,
      { cacheId: cache.cacheId },
    );
  }

  /** What a transfer uses on this side, for rule `rows-in-flight`; nothing to do where no call was rejected early. */
  #access(
    operation: Transfer['operation'],
    call: LimitedCall | undefined,
    cache: Registration | undefined,
    rows: Iterable<number | bigint>,
  ): void {
    if (cache === undefined || !this.#instance.noticesAccess(call)) return;
    const writes = operation === 'pullCache' || operation === 'pullBlocks';
    this.#instance.access(operation, call, () => [{ cache, rows, writes }]);
  }

  /** Checks that pulls and pushes share; `undefined` where guards do not apply. */
  #guard(
    operation: Transfer['operation'],
    remote: CheckedKey,
    local: Registration | undefined,
    localRange: LayerRange,
    remoteRange: LayerRange,
    ext: KvCacheExtParam,
  ): Transfer | undefined {
    const { requireLayout, requireLife, guards } = this.#instance;
    const { clusterId, cacheId, layout, life } = remote;
    if (requireLayout && layout === undefined) {
      throw refusal('require-layout', operation, 'the key carries no layout', { clusterId, cacheId });
    }
    if (requireLife && life === undefined) {
      throw refusal('require-life', operation, 'the key carries no life', { clusterId, cacheId });
    }
    if (!guards) return undefined;
    const { tensorNumPerLayer } = ext;
    const transfer = { operation, remote, layout, local, localRange, remoteRange, tensorNumPerLayer };
    guardLayers(transfer, ext);
    return transfer;
  }

  /**
   * The source of a push with the description of its registration: the library believes the description of the call. An id that is
   * not registered gets a layer, so that the library comes to say that it is unknown.
   */
  #described(cache: Cache, local: Registration | undefined, ext: KvCacheExtParam): Cache {
    if (!this.#instance.guards) return cache;
    const desc =
      local?.desc ?? ({ ...DEFAULT_CACHE_DESC, numTensors: ext.tensorNumPerLayer } satisfies BackendCacheDesc);
    return { ...cache, desc };
  }
}

/** A local cache as C++ would take it, and what its description says besides. */
interface LocalSide extends Cache {
  readonly desc: CheckedDesc;
}

const NO_ADDRESSES = new BigUint64Array(0);
const HANDLE = 'a KvCache of registerCache() or allocateCache(): the handle itself, not a copy';
const HANDLE_OR_ID = 'a KvCache (the handle itself, not a copy) or its cacheId, a bigint or an integer';

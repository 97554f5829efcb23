import type { Backend, BackendCacheDesc, Cache, KvCacheExtParam, LayerRange } from './backend/backend';
import { DEFAULT_CACHE_DESC, DEFAULT_EXT_PARAM } from './backend/backend';
import { copyBlocks, copyCache, swapBlocks } from './cache-copy';
import type { CopyCacheOptions } from './cache-copy';
import type { CacheDesc, CacheKeyByIdAndIndex, CheckedKey, KvCache, LocalCache } from './cache';
import { checkDesc, checkKey, RegisteredCache } from './cache';
import { checkInt64, checkObject, checkOptionalObject, checkUint32, checkUint64List, invalidArgType } from './check';
import { LLMException } from './exception';
import { checkExtParam } from './transfer-options';
import type { BlockList, PullCacheOptions, PullOptions, PushOptions } from './transfer-options';
import { guardDescription, guardRegistration } from './guard/registration';
import { refusal } from './guard/rule';
import type { Transfer } from './guard/transfer';
import { guardBlocks, guardBlocksAgainstLayout, guardLayers, guardRowAgainstLayout } from './guard/transfer';
import type { Instance } from './instance';
import type { AllocatedRegion } from './memory';
import type { Registration } from './registrations';
import { cacheSize } from './registrations';
import { LLMStatusCode } from './status';

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
   * @throws LLMException `LLM_FAILED` when not initialised or the transport refuses the memory; `LLM_PARAM_INVALID` for a
   *   description that makes no sense or a guard's rule
   *
   * C++ `RegisterKvCache`, Python `register_cache` / `register_blocks_cache`.
   */
  async registerCache(desc: CacheDesc, addrs: readonly (bigint | number)[] | BigUint64Array): Promise<KvCache> {
    const description = checkDesc(desc, 'desc');
    const addresses = checkUint64List(addrs, 'addrs');
    return this.#instance.run(
      'registerCache',
      // Inside of the call, so that a finalize that waits for it makes the handle one of an earlier life.
      async () => new RegisteredCache(this.#instance, await this.#register(description, addresses)),
    );
  }

  /**
   * Makes a cache unknown again. Unlink first: peers that copied the list of caches still know it. An id that is not
   * registered succeeds.
   *
   * @throws LLMException `LLM_FAILED` when not initialised, or where the engine keeps its memory while it is linked (hixl)
   *
   * C++ `UnregisterKvCache`, Python `unregister_cache`.
   */
  async unregisterCache(cache: LocalCache): Promise<void> {
    const { cacheId } = this.#local(cache, 'cache', 'unregisterCache');
    await this.#instance.run('unregisterCache', () => this.#unregister(cacheId));
  }

  /**
   * Allocates one memory region per tensor and registers them.
   *
   * @throws LLMException as {@link registerCache}; `LLM_DEVICE_OUT_OF_MEMORY` or `LLM_OUT_OF_MEMORY` when there is not
   *   enough; nothing stays allocated then
   *
   * C++ `AllocateCache`, which today's library does not implement: the package uses `aclrtMalloc` then. Python
   * `allocate_cache` / `allocate_blocks_cache`.
   */
  async allocateCache(desc: CacheDesc): Promise<KvCache> {
    const description = checkDesc(desc, 'desc');
    return this.#instance.run('allocateCache', () => this.#allocate(description));
  }

  /**
   * Unregisters a cache that {@link allocateCache} made and frees its regions.
   *
   * @throws LLMException `LLM_PARAM_INVALID` for a cache whose memory is the caller's, or one that was deallocated before
   *
   * C++ `DeallocateCache`, Python `deallocate_cache` / `deallocate_blocks_cache`.
   */
  async deallocateCache(cache: KvCache): Promise<void> {
    const operation = 'deallocateCache';
    const handle = this.#own(cache, 'cache', operation);
    const regions = RegisteredCache.regionsOf(handle);
    await this.#instance.run(operation, async () => {
      if (regions === undefined || this.#instance.registrations.get(handle.cacheId) === undefined) {
        throw new LLMException(LLMStatusCode.LLM_PARAM_INVALID, {
          operation,
          message:
            regions === undefined
              ? 'the memory of this cache was not allocated by allocateCache()'
              : 'this cache was deallocated or unregistered before',
          remedy: 'Use unregisterCache() for memory of your own, and region.free() for regions that are left.',
          cacheId: handle.cacheId,
        });
      }
      await this.#unregister(handle.cacheId);
      await freeAll(regions);
    });
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
    const fields = checkOptionalObject(options, 'options');
    const { size: wanted } = fields;
    const size = wanted === undefined ? -1n : checkInt64(wanted, 'options.size');
    const ext = checkExtParam(fields);
    return this.#instance.run(operation, () => {
      const transfer = this.#guard(operation, remote, cache, ext.dstLayerRange, ext.srcLayerRange, ext);
      if (transfer !== undefined)
        guardRowAgainstLayout(transfer, size > 0n ? size : (transfer.local?.size.rowBytes ?? 0n));
      return this.#backend.pullKvCache(remote, cache, row, size, ext);
    });
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
    const sources = checkUint64List(srcBlocks, 'srcBlocks');
    const destinations = checkUint64List(dstBlocks, 'dstBlocks');
    const ext = options === undefined ? DEFAULT_EXT_PARAM : checkExtParam(checkOptionalObject(options, 'options'));
    return this.#instance.run(operation, () => {
      const transfer = this.#guard(operation, remote, cache, ext.dstLayerRange, ext.srcLayerRange, ext);
      if (transfer !== undefined) {
        guardBlocks(transfer, destinations, sources);
        guardBlocksAgainstLayout(transfer, sources);
      }
      return this.#backend.pullKvBlocks(remote, cache, sources, destinations, ext);
    });
  }

  /**
   * Copies one row of a local cache into one row of a remote one, layer by layer: the layers before the one that fails
   * stay written.
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
    const fields = checkOptionalObject(options, 'options');
    const { size: wanted } = fields;
    const size = wanted === undefined ? -1n : checkInt64(wanted, 'options.size');
    const ext = checkExtParam(fields);
    return this.#instance.run(operation, () => {
      const transfer = this.#guard(operation, remote, cache, ext.srcLayerRange, ext.dstLayerRange, ext);
      if (transfer !== undefined) guardRowAgainstLayout(transfer, transfer.local?.size.rowBytes ?? 0n);
      return this.#backend.pushKvCache(this.#described(cache, ext), remote, row, size, ext);
    });
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
    const sources = checkUint64List(srcBlocks, 'srcBlocks');
    const destinations = checkUint64List(dstBlocks, 'dstBlocks');
    const ext = options === undefined ? DEFAULT_EXT_PARAM : checkExtParam(checkOptionalObject(options, 'options'));
    return this.#instance.run(operation, () => {
      const transfer = this.#guard(operation, remote, cache, ext.srcLayerRange, ext.dstLayerRange, ext);
      if (transfer !== undefined) {
        guardBlocks(transfer, sources, destinations);
        guardBlocksAgainstLayout(transfer, destinations);
      }
      return this.#backend.pushKvBlocks(this.#described(cache, ext), remote, sources, destinations, ext);
    });
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
    return copyCache(this.#instance, to, from, checkOptionalObject(options, 'options'));
  }

  /**
   * Copies blocks inside one local cache, in every tensor: each source block to each of its destinations.
   *
   * @param srcToDst source block → destination blocks, uint32 each; read in order of insertion
   * @throws LLMException as {@link copyCache}
   *
   * C++ `CopyKvBlocks`, Python `copy_blocks`.
   */
  async copyBlocks(cache: KvCache, srcToDst: ReadonlyMap<number, readonly number[]>): Promise<void> {
    return copyBlocks(this.#instance, this.#own(cache, 'cache', 'copyBlocks'), srcToDst);
  }

  /**
   * Copies blocks between a cache in host memory and one in device memory of this instance, either way.
   *
   * @param srcToDst source block → destination block, uint32 each
   * @throws LLMException as {@link copyCache}; `LLM_PARAM_INVALID` unless exactly one side is host memory
   *
   * Python `swap_blocks`; C++ has none.
   */
  async swapBlocks(src: KvCache, dst: KvCache, srcToDst: ReadonlyMap<number, number>): Promise<void> {
    const from = this.#own(src, 'src', 'swapBlocks');
    const to = this.#own(dst, 'dst', 'swapBlocks');
    return swapBlocks(this.#instance, from, to, srcToDst);
  }

  get #backend(): Backend {
    return this.#instance.backend;
  }

  async #register(desc: BackendCacheDesc, addrs: BigUint64Array): Promise<Registration> {
    const { registrations, guards } = this.#instance;
    if (guards) guardRegistration(this.#instance, desc, addrs);
    const size = cacheSize(desc) ?? { tensorBytes: 0n, rows: 0n, rowBytes: 0n };
    // What the library refuses for its count takes nothing, however long the list is.
    const taken = addrs.length === desc.numTensors ? addrs : NO_ADDRESSES;
    const reservation = registrations.reserve(taken, size.tensorBytes);
    try {
      // The backend gets a list of its own: handles answer with this one for as long as they live.
      const cacheId = await this.#backend.registerKvCache(desc, addrs.slice());
      const registration = { cacheId, desc, addrs, size };
      registrations.confirm(registration, reservation);
      return registration;
    } catch (error) {
      registrations.cancel(reservation);
      throw error;
    }
  }

  async #unregister(cacheId: bigint): Promise<void> {
    await this.#backend.unregisterKvCache(cacheId);
    this.#instance.registrations.remove(cacheId);
  }

  async #allocate(desc: BackendCacheDesc): Promise<KvCache> {
    const operation = 'allocateCache';
    if (this.#instance.guards) guardDescription(operation, desc);
    const size = cacheSize(desc);
    if (size === undefined || desc.numTensors === 0) {
      // Nothing to allocate; registering it is what the library would refuse.
      throw new LLMException(LLMStatusCode.LLM_PARAM_INVALID, {
        operation,
        message: `a cache of ${desc.numTensors} tensors of shape [${desc.shape.join(', ')}] and type ${desc.dataType} has no size`,
      });
    }
    const regions: AllocatedRegion[] = [];
    try {
      for (let i = 0; i < desc.numTensors; i++) {
        regions.push(await this.#instance.allocate(size.tensorBytes, desc.placement));
      }
      const registration = await this.#register(
        desc,
        BigUint64Array.from(regions, (region) => region.address),
      );
      return new RegisteredCache(this.#instance, registration, regions);
    } catch (error) {
      await freeAll(regions);
      throw error;
    }
  }

  /** A local cache as C++ would take it: a handle's description goes with it, a bare id has none. */
  #local(value: unknown, name: string, operation: string): Cache {
    if (RegisteredCache.is(value)) {
      if (this.#instance.guards) this.#checkOrigin(value, operation);
      const { cacheId, desc, addrs } = RegisteredCache.registrationOf(value);
      return { cacheId, desc, tensorAddrs: addrs };
    }
    if (typeof value !== 'object' || value === null) {
      if (typeof value !== 'bigint' && typeof value !== 'number') {
        throw invalidArgType(name, 'a KvCache, a bigint or an integer', value);
      }
      return { cacheId: checkInt64(value, name), desc: DEFAULT_CACHE_DESC, tensorAddrs: NO_ADDRESSES };
    }
    const { cacheId, desc } = checkObject(value, name);
    return {
      cacheId: checkInt64(cacheId, `${name}.cacheId`),
      desc: desc === undefined ? DEFAULT_CACHE_DESC : checkDesc(desc, `${name}.desc`),
      tensorAddrs: NO_ADDRESSES,
    };
  }

  /** A handle of this instance: what works on memory needs more than an id. */
  #own(value: unknown, name: string, operation: string): RegisteredCache {
    if (!RegisteredCache.is(value)) {
      throw invalidArgType(name, 'a KvCache of registerCache() or allocateCache()', value);
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

  /** Checks that pulls and pushes share; `undefined` where guards do not apply. */
  #guard(
    operation: Transfer['operation'],
    remote: CheckedKey,
    cache: Cache,
    localRange: LayerRange,
    remoteRange: LayerRange,
    ext: KvCacheExtParam,
  ): Transfer | undefined {
    const { requireLayout, guards, registrations } = this.#instance;
    const { clusterId, cacheId, layout } = remote;
    if (requireLayout && layout === undefined) {
      throw refusal('require-layout', operation, 'the key carries no layout', { clusterId, cacheId });
    }
    if (!guards) return undefined;
    const { tensorNumPerLayer } = ext;
    const local = registrations.get(cache.cacheId);
    const transfer = { operation, remote, layout, local, localRange, remoteRange, tensorNumPerLayer };
    guardLayers(transfer, ext);
    return transfer;
  }

  /**
   * The source of a push with the description of its registration: the library believes what it is told. An id that is
   * not registered gets a layer, so that the library comes to say that it is unknown.
   */
  #described(cache: Cache, ext: KvCacheExtParam): Cache {
    if (!this.#instance.guards) return cache;
    const desc =
      this.#instance.registrations.get(cache.cacheId)?.desc ??
      ({ ...DEFAULT_CACHE_DESC, numTensors: ext.tensorNumPerLayer } satisfies BackendCacheDesc);
    return { ...cache, desc };
  }
}

const NO_ADDRESSES = new BigUint64Array(0);

async function freeAll(regions: readonly AllocatedRegion[]): Promise<void> {
  for (const region of regions) await region.release();
}

import { LLMException } from '../../../lib/exception';
import { LLMStatusCode, statusName } from '../../../lib/status';
import { isHost } from '../../../lib/placement';
import type {
  Backend,
  BackendCacheDesc,
  BackendOptions,
  Cache,
  CacheIndex,
  ClusterInfo,
  IpInfo,
  KvCacheExtParam,
} from '../../../lib/backend/backend';
import type { Driver } from './driver';
import { encode } from './driver';

const HOST_TO_HOST = 0;
const HOST_TO_DEVICE = 1;
const DEVICE_TO_HOST = 2;
const DEVICE_TO_DEVICE = 3;

const SUCCESS: number = LLMStatusCode.LLM_SUCCESS;

let objects = 0;

/** The seam over a driver: what the package's addon will be, as far as recordings need it. */
export class DriverBackend implements Backend {
  readonly name = 'driver';
  readonly #driver: Driver;
  readonly #object: string;
  readonly #made: Promise<unknown>;
  readonly #hostMemory = new Set<bigint>();

  constructor(driver: Driver, clusterId: bigint, role: number) {
    this.#driver = driver;
    this.#object = `object${++objects}`;
    this.#made = driver.call('main', 'new', this.#object, clusterId, role);
  }

  initialize(options: BackendOptions): Promise<void> {
    return this.#succeed('init', optionWords(options));
  }

  finalize(): Promise<void> {
    return this.#succeed('finalize', []);
  }

  setRole(role: number, options: BackendOptions): Promise<void> {
    return this.#succeed('set_role', [role, ...optionWords(options)]);
  }

  linkLlmClusters(clusters: readonly ClusterInfo[], timeoutMs: number): Promise<readonly number[]> {
    return this.#onClusters('link', clusters, [timeoutMs]);
  }

  unlinkLlmClusters(clusters: readonly ClusterInfo[], timeoutMs: number, force: boolean): Promise<readonly number[]> {
    return this.#onClusters('unlink', clusters, [timeoutMs, force ? 1 : 0]);
  }

  async allocateCache(): Promise<Cache> {
    await this.#succeed('allocate_cache', []);
    throw new Error('the library is not expected to allocate a cache');
  }

  deallocateCache(): Promise<void> {
    return this.#succeed('deallocate_cache', []);
  }

  copyKvCache(): Promise<void> {
    return this.#succeed('copy_cache', []);
  }

  copyKvBlocks(): Promise<void> {
    return this.#succeed('copy_blocks', []);
  }

  async registerKvCache(desc: BackendCacheDesc, addrs: BigUint64Array): Promise<bigint> {
    const [cacheId = ''] = await this.#call('register', [descWord(desc), listWord(addrs)]);
    return BigInt(cacheId);
  }

  unregisterKvCache(cacheId: bigint): Promise<void> {
    return this.#succeed('unregister', [cacheId]);
  }

  pullKvCache(src: CacheIndex, dst: Cache, batchIndex: number, size: bigint, ext: KvCacheExtParam): Promise<void> {
    return this.#succeed('pull_cache', [indexWord(src), dst.cacheId, batchIndex, size, extWord(ext)]);
  }

  pullKvBlocks(
    src: CacheIndex,
    dst: Cache,
    srcBlocks: BigUint64Array,
    dstBlocks: BigUint64Array,
    ext: KvCacheExtParam,
  ): Promise<void> {
    const lists = [listWord(srcBlocks), listWord(dstBlocks)];
    return this.#succeed('pull_blocks', [indexWord(src), dst.cacheId, ...lists, extWord(ext)]);
  }

  pushKvCache(src: Cache, dst: CacheIndex, srcBatchIndex: number, size: bigint, ext: KvCacheExtParam): Promise<void> {
    const words = [src.cacheId, descWord(src.desc), indexWord(dst), srcBatchIndex, size, extWord(ext)];
    return this.#succeed('push_cache', words);
  }

  pushKvBlocks(
    src: Cache,
    dst: CacheIndex,
    srcBlocks: BigUint64Array,
    dstBlocks: BigUint64Array,
    ext: KvCacheExtParam,
  ): Promise<void> {
    const lists = [listWord(srcBlocks), listWord(dstBlocks)];
    return this.#succeed('push_blocks', [src.cacheId, descWord(src.desc), indexWord(dst), ...lists, extWord(ext)]);
  }

  async malloc(byteLength: bigint, placement: number): Promise<bigint> {
    const [word = ''] = await this.#runtime(isHost(placement) ? 'malloc_host' : 'malloc', [byteLength]);
    const address = BigInt(word);
    if (isHost(placement)) this.#hostMemory.add(address);
    return address;
  }

  async free(address: bigint): Promise<void> {
    await this.#runtime(this.#hostMemory.delete(address) ? 'free_host' : 'free', [address]);
  }

  async write(address: bigint, data: Uint8Array): Promise<void> {
    const kind = this.#isInHostMemory(address) ? HOST_TO_HOST : HOST_TO_DEVICE;
    await this.#runtime('copy_in', [address, kind, Buffer.from(data).toString('hex')]);
  }

  async read(address: bigint, byteLength: number): Promise<Uint8Array> {
    const kind = this.#isInHostMemory(address) ? HOST_TO_HOST : DEVICE_TO_HOST;
    const [hex = ''] = await this.#runtime('copy_out', [address, kind, byteLength]);
    return new Uint8Array(Buffer.from(hex, 'hex'));
  }

  async copy(dst: bigint, src: bigint, byteLength: number): Promise<void> {
    await this.#runtime('copy', [dst, src, byteLength, DEVICE_TO_DEVICE]);
  }

  /** Scenarios copy whole allocations. */
  #isInHostMemory(address: bigint): boolean {
    return this.#hostMemory.has(address);
  }

  async #succeed(call: string, words: readonly Word[]): Promise<void> {
    await this.#call(call, words);
  }

  async #call(call: string, words: readonly Word[]): Promise<readonly string[]> {
    await this.#made;
    const { status = LLMStatusCode.LLM_FAILED, words: results } = await this.#driver.call(
      'main',
      call,
      this.#object,
      ...words,
    );
    if (status !== SUCCESS) throw new LLMException(status, { operation: call, message: call });
    return results;
  }

  async #onClusters(
    call: string,
    clusters: readonly ClusterInfo[],
    words: readonly Word[],
  ): Promise<readonly number[]> {
    await this.#made;
    const all = [...words, ...clusters.map(clusterWord)];
    const { status = LLMStatusCode.LLM_FAILED, words: results } = await this.#driver.call(
      'main',
      call,
      this.#object,
      ...all,
    );
    const statuses = results.map(Number);
    if (status === SUCCESS) return statuses;
    throw new LLMException(status, {
      operation: call,
      message: call,
      results: statuses.map((statusCode, i) => ({
        remoteClusterId: clusters[i]?.remoteClusterId ?? 0n,
        statusCode,
        code: statusName(statusCode),
      })),
    });
  }

  async #runtime(call: string, words: readonly Word[]): Promise<readonly string[]> {
    const { status, words: results } = await this.#driver.call('main', call, ...words);
    if (status !== 0) throw new LLMException(status ?? LLMStatusCode.LLM_FAILED, { operation: call, message: call });
    return results;
  }
}

type Word = string | number | bigint;

function optionWords(options: BackendOptions): string[] {
  return Object.entries(options).map(([key, value]) => `${encode(key)}=${value === '' ? '' : encode(value)}`);
}

function listWord(list: Iterable<bigint>): string {
  return Array.from(list, String).join(',') || '-';
}

function descWord({ placement, numTensors, dataType, shape }: BackendCacheDesc): string {
  return [placement, numTensors, dataType, listWord(shape)].join(';');
}

function indexWord({ clusterId, cacheId, batchIndex }: CacheIndex): string {
  return [clusterId, cacheId, batchIndex].join(',');
}

function extWord({ srcLayerRange, dstLayerRange, tensorNumPerLayer }: KvCacheExtParam): string {
  return [...srcLayerRange, ...dstLayerRange, tensorNumPerLayer].join(',');
}

function clusterWord({ remoteClusterId, remoteRoleType, remoteIpInfos, localIpInfos }: ClusterInfo): string {
  return [remoteClusterId, remoteRoleType, addressWord(remoteIpInfos), addressWord(localIpInfos)].join(';');
}

function addressWord(addresses: readonly IpInfo[]): string {
  return addresses.map(({ ip, port }) => `${encode(ip)}/${port}`).join(',') || '-';
}

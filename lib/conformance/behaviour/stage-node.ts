import { DEFAULT_EXT_PARAM } from '../../backend/backend';
import type { Backend, BackendCacheDesc, BackendOptions, ClusterInfo, IpInfo } from '../../backend/backend';
import type { LLMRole } from '../../role';
import { CacheMemory } from '../cache-memory';
import type { ClusterAnswer } from './answer';
import { clusterAnswerOf } from './answer';
import { tensorBytesOf } from './cache-desc';
import { StageCache } from './stage-cache';

export const HOST = '127.0.0.1';

/** What an instance that does not listen names as its own; nobody listens there. */
const LOCAL: IpInfo = Object.freeze({ ip: HOST, port: 26_999 });

const TIMEOUT_MS = 1000;

export type BlockNumbers = readonly number[];

/** An instance below the public classes. */
export class StageNode {
  readonly #memories: CacheMemory[] = [];

  constructor(
    readonly backend: Backend,
    readonly clusterId: bigint,
    readonly role: LLMRole,
    private readonly device: number,
    private readonly port: number | undefined,
  ) {}

  get options(): BackendOptions {
    const device = { 'llm.DeviceId': String(this.device) };
    return this.port === undefined ? device : { ...device, 'llm.ListenIpInfo': `${HOST}:${this.port}` };
  }

  /** As other instances name it. */
  get cluster(): ClusterInfo {
    const remoteIpInfos = this.port === undefined ? [] : [{ ip: HOST, port: this.port }];
    return { remoteClusterId: this.clusterId, remoteRoleType: this.role, remoteIpInfos, localIpInfos: [LOCAL] };
  }

  async initialize(more: BackendOptions = {}): Promise<void> {
    await this.backend.initialize({ ...this.options, ...more });
  }

  /** A cache in fresh memory: byte `k` of tensor `t` is `(base + 131*t + k) mod 251`. */
  async register(desc: BackendCacheDesc, base: number): Promise<StageCache> {
    const memory = await this.allocate(desc, base);
    const cacheId = await this.backend.registerKvCache(desc, memory.addresses);
    return new StageCache({ cacheId, tensorAddrs: memory.addresses, desc }, this, memory, base);
  }

  /** Memory for a cache, freed at the end. */
  async allocate(desc: BackendCacheDesc, base = 0): Promise<CacheMemory> {
    const { numTensors: count, placement } = desc;
    const memory = await CacheMemory.allocate(this.backend, {
      count,
      tensorBytes: BigInt(tensorBytesOf(desc)),
      placement,
      base,
      fails: false,
    });
    this.#memories.push(memory);
    return memory;
  }

  async link(...peers: readonly StageNode[]): Promise<void> {
    await this.backend.linkLlmClusters(clustersOf(peers), TIMEOUT_MS);
  }

  async unlink(peer: StageNode, { force = false }: { readonly force?: boolean } = {}): Promise<void> {
    await this.backend.unlinkLlmClusters([peer.cluster], TIMEOUT_MS, force);
  }

  linkAnswer(...clusters: readonly ClusterInfo[]): Promise<ClusterAnswer> {
    return clusterAnswerOf(() => this.backend.linkLlmClusters(clusters, TIMEOUT_MS));
  }

  unlinkAnswer(force: boolean, ...clusters: readonly ClusterInfo[]): Promise<ClusterAnswer> {
    return clusterAnswerOf(() => this.backend.unlinkLlmClusters(clusters, TIMEOUT_MS, force));
  }

  /** Row to row. */
  pull(src: StageCache, dst: StageCache, ext = DEFAULT_EXT_PARAM, srcRow = 0, dstRow = 0, size = -1n): Promise<void> {
    return this.backend.pullKvCache(src.at(srcRow), dst.local, dstRow, size, ext);
  }

  /** Row to row. */
  push(src: StageCache, dst: StageCache, ext = DEFAULT_EXT_PARAM, srcRow = 0, dstRow = 0): Promise<void> {
    return this.backend.pushKvCache(src.local, dst.at(dstRow), srcRow, -1n, ext);
  }

  pullBlocks(
    src: StageCache,
    dst: StageCache,
    srcBlocks: BlockNumbers,
    dstBlocks: BlockNumbers,
    ext = DEFAULT_EXT_PARAM,
  ) {
    const lists = [blockList(srcBlocks), blockList(dstBlocks)] as const;
    return this.backend.pullKvBlocks(src.at(), dst.local, ...lists, ext);
  }

  pushBlocks(
    src: StageCache,
    dst: StageCache,
    srcBlocks: BlockNumbers,
    dstBlocks: BlockNumbers,
    ext = DEFAULT_EXT_PARAM,
  ) {
    const lists = [blockList(srcBlocks), blockList(dstBlocks)] as const;
    return this.backend.pushKvBlocks(src.local, dst.at(), ...lists, ext);
  }

  async free(): Promise<void> {
    for (const memory of this.#memories.splice(0)) await memory.free();
  }
}

function blockList(blocks: BlockNumbers): BigUint64Array {
  return BigUint64Array.from(blocks, BigInt);
}

export function clustersOf(nodes: readonly StageNode[]): ClusterInfo[] {
  return nodes.map(({ cluster }) => cluster);
}

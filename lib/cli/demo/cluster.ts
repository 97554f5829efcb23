import type { Backend, BackendFactory } from '../../backend/backend';
import type { BackendChoice } from '../../backend/select';
import type { KvCache } from '../../cache';
import type { LLMClusterInfo } from '../../cluster';
import { LLMDataDist } from '../../datadist';
import type { KvCacheManager } from '../../kv-cache-manager';
import type { LLMRole } from '../../role';
import { CacheContents } from './contents';
import type { CacheOwner } from './contents';
import { kvCacheDesc } from './geometry';

/** One of the three parties: where a deployment has a process on a separate NPU. */
export interface ClusterPlan {
  readonly name: string;
  readonly role: LLMRole;
  readonly clusterId: bigint;
  readonly deviceId: number;
  readonly ip: string;
  readonly port: number;
}

/** Where a party is, for its peers. */
export function clusterInfo({ clusterId, ip, port }: ClusterPlan): LLMClusterInfo {
  return { remoteClusterId: clusterId, remoteIpInfos: [{ ip, port }] };
}

/** A party at work. */
export class Cluster implements CacheOwner {
  readonly #dist: LLMDataDist;
  readonly #caches = new Set<KvCache>();

  /** @throws LLMBackendError where the native backend is wanted and cannot be loaded */
  constructor(
    readonly plan: ClusterPlan,
    backend: BackendChoice | Backend | BackendFactory,
  ) {
    this.#dist = new LLMDataDist(plan.role, plan.clusterId, {
      backend,
      // On NPUs the three parties share a process for the sake of the demo only.
      allowMultipleInstances: true,
    });
  }

  get name(): string {
    return this.plan.name;
  }

  get backendName(): string {
    return this.#dist.backendName;
  }

  get manager(): KvCacheManager {
    return this.#dist.kvCacheManager;
  }

  get info(): LLMClusterInfo {
    return clusterInfo(this.plan);
  }

  /** The life that it has now, which peers state when they link. */
  get life(): string {
    return this.#dist.life;
  }

  async start(): Promise<void> {
    const { deviceId, ip, port } = this.plan;
    await this.#dist.init({ deviceId, listenIpInfo: `${ip}:${port}` });
  }

  async allocate(blocks: number): Promise<CacheContents> {
    const cache = await this.manager.allocateCache(kvCacheDesc(blocks));
    this.#caches.add(cache);
    return new CacheContents(this, cache, blocks);
  }

  async link({ info, life }: Pick<Cluster, 'info' | 'life'>): Promise<void> {
    await this.#dist.linkClusters([{ ...info, life }]);
  }

  async unlink(peer: Pick<Cluster, 'info'>, options?: { readonly force: boolean }): Promise<void> {
    await this.#dist.unlinkClusters([peer.info], options);
  }

  /** Gives its memory back and ends it without a word to its peers, as a process does. It can be started again. */
  async stop(): Promise<void> {
    try {
      for (const cache of this.#caches) await this.manager.deallocateCache(cache);
    } finally {
      this.#caches.clear();
      await this.#dist.finalize();
    }
  }
}

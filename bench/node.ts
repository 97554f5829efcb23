import { DataType, LLMDataDist, LLMRole } from '../lib';
import type { CacheDesc, KvCache, LLMClusterInfo, LLMDataDistOptions } from '../lib';
import { MockBackend } from '../lib/testing';
import type { Fabric } from '../lib/testing';

const DEVICES_PER_HOST = 8;
const FIRST_PORT = 26_000;

/** Nodes that find each other on this fabric of the mock. */
export function onFabric(fabric: Fabric): LLMDataDistOptions {
  return { backend: (id, role) => new MockBackend(id, role, { fabric }) };
}

/** A cluster with one NPU, and what its peers need to link to it. */
export interface Node {
  readonly dist: LLMDataDist;
  readonly info: LLMClusterInfo;
}

/**
 * Node number `index` of a rehearsed data centre: hosts of eight devices, a port of its own for each of them.
 * @param listens false for one that makes all its links itself
 */
export async function startNode(options: LLMDataDistOptions, index: number, listens = true): Promise<Node> {
  const host = Math.floor(index / DEVICES_PER_HOST);
  const ip = `10.0.${host >>> 8}.${host & 0xff}`;
  const port = FIRST_PORT + index;
  const clusterId = BigInt(index + 1);
  const dist = new LLMDataDist(LLMRole.MIX, clusterId, options);
  const deviceId = index % DEVICES_PER_HOST;
  await dist.init(listens ? { deviceId, listenIpInfo: `${ip}:${port}` } : { deviceId });
  return { dist, info: { remoteClusterId: clusterId, remoteIpInfos: [{ ip, port }] } };
}

/** A cache of blocks of bytes. */
export function blocksOf(blockBytes: number, rows: number, numTensors: number): CacheDesc {
  return { numTensors, dataType: DataType.DT_UINT8, shape: [rows, blockBytes] };
}

export interface Pair {
  readonly puller: Node;
  readonly owner: Node;
  /** The puller's cache. */
  readonly local: KvCache;
  /** The owner's cache. */
  readonly remote: KvCache;
  close(): Promise<void>;
}

/** Two linked nodes with a cache each, alike. */
export async function startPair(options: LLMDataDistOptions, desc: CacheDesc): Promise<Pair> {
  const star = await startStar(options, desc, 1);
  const [owner] = star.owners as readonly [Owner];
  return { puller: star.puller, local: star.local, owner: owner.node, remote: owner.cache, close: () => star.close() };
}

/** A node that is linked to others, each of them with a cache. */
export interface Star {
  readonly puller: Node;
  /** The puller's cache. */
  readonly local: KvCache;
  readonly owners: readonly Owner[];
  close(): Promise<void>;
}

export interface Owner {
  readonly node: Node;
  readonly cache: KvCache;
}

/** One node and its peers with a cache each, all alike. */
export async function startStar(options: LLMDataDistOptions, desc: CacheDesc, peers: number): Promise<Star> {
  const puller = await startNode(options, 0);
  const local = await puller.dist.kvCacheManager.allocateCache(desc);
  const owners: Owner[] = [];
  for (let i = 1; i <= peers; i++) {
    const node = await startNode(options, i);
    owners.push({ node, cache: await node.dist.kvCacheManager.allocateCache(desc) });
  }
  const infos = owners.map(({ node }) => node.info);
  await puller.dist.linkClusters(infos);
  return {
    puller,
    local,
    owners,
    close: async () => {
      await puller.dist.unlinkClusters(infos);
      await puller.dist.kvCacheManager.deallocateCache(local);
      for (const { node, cache } of owners) await node.dist.kvCacheManager.deallocateCache(cache);
      await puller.dist.finalize();
      for (const { node } of owners) await node.dist.finalize();
    },
  };
}

import { DataType, LLMDataDist, LLMRole } from '../lib';
import type { CacheDesc, KvCache, LLMClusterInfo } from '../lib';
import { MockBackend } from '../lib/testing';
import type { Fabric } from '../lib/testing';

const DEVICES_PER_HOST = 8;
const FIRST_PORT = 26_000;

/** A cluster with one NPU on a fabric of the mock, and what its peers need to link to it. */
export interface Node {
  readonly dist: LLMDataDist;
  readonly info: LLMClusterInfo;
}

/** Node number `index` of a rehearsed data centre: hosts of eight devices, a port of its own for each of them. */
export async function startNode(fabric: Fabric, index: number): Promise<Node> {
  const host = Math.floor(index / DEVICES_PER_HOST);
  const ip = `10.0.${host >>> 8}.${host & 0xff}`;
  const port = FIRST_PORT + index;
  const clusterId = BigInt(index + 1);
  const dist = new LLMDataDist(LLMRole.MIX, clusterId, {
    backend: (id, role) => new MockBackend(id, role, { fabric }),
  });
  await dist.init({ deviceId: index % DEVICES_PER_HOST, listenIpInfo: `${ip}:${port}` });
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
export async function startPair(fabric: Fabric, desc: CacheDesc): Promise<Pair> {
  const puller = await startNode(fabric, 0);
  const owner = await startNode(fabric, 1);
  const local = await puller.dist.kvCacheManager.allocateCache(desc);
  const remote = await owner.dist.kvCacheManager.allocateCache(desc);
  await puller.dist.linkClusters([owner.info]);
  return {
    puller,
    owner,
    local,
    remote,
    close: async () => {
      await puller.dist.unlinkClusters([owner.info]);
      await puller.dist.kvCacheManager.deallocateCache(local);
      await owner.dist.kvCacheManager.deallocateCache(remote);
      await puller.dist.finalize();
      await owner.dist.finalize();
    },
  };
}

import type { ClusterInfo } from '../backend/backend';
import { refusal } from './rule';

/**
 * Clusters of one link call are linked at the same time: two links to one peer get in each other's way, and one of them
 * can be left behind where no unlink reaches it.
 */
export function guardLink(clusters: readonly ClusterInfo[]): void {
  const ids = new Set<bigint>();
  const addresses = new Set<string>();
  for (const { remoteClusterId: clusterId, remoteIpInfos } of clusters) {
    const peers = remoteIpInfos.map(({ ip, port }) => `${ip}:${port}`);
    const twice = peers.find((peer) => addresses.has(peer));
    if (ids.has(clusterId) || twice !== undefined) {
      const problem = ids.has(clusterId) ? `cluster ${clusterId} is named twice` : `${twice} is named twice`;
      throw refusal('one-link', 'linkClusters', problem, { clusterId });
    }
    ids.add(clusterId);
    for (const peer of peers) addresses.add(peer);
  }
}

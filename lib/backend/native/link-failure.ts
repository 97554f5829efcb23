import { LLMException } from '../../exception';
import { peerAddresses } from '../../peer-addresses';
import { shortList } from '../../short-list';
import { describeStatus, LLMStatusCode } from '../../status';
import type { ClusterInfo } from '../backend';

/**
 * The failure of a link or unlink call with the peers that it failed for, where they were looked for, and for how long:
 * of all that the library gives numbers only.
 */
export function namePeers(error: unknown, clusters: readonly ClusterInfo[], elapsedMs: number): unknown {
  if (!(error instanceof LLMException) || error.results === undefined || error.results.length === 0) return error;
  const { statusCode, operation, detail, results, recovery, remedy, cause } = error;
  const failed = results.flatMap(({ statusCode: status }, i) => {
    const cluster = clusters[i];
    return status === LLMStatusCode.LLM_SUCCESS || cluster === undefined ? [] : [{ cluster, status }];
  });
  const [only] = failed;
  const texts =
    only !== undefined && failed.length === 1
      ? [`${place(only.cluster)}: ${meaningOf(only.status)}`]
      : failed.map(({ cluster, status }) => `${place(cluster)}: ${meaningOf(status)} (${describeStatus(status).name})`);
  const message = `${shortList(texts).join('; ')}; after ${Math.round(elapsedMs)} ms`;
  return new LLMException(statusCode, { operation, message, detail, results, recovery, remedy, cause });
}

function place({ remoteClusterId, remoteIpInfos }: ClusterInfo): string {
  return `cluster ${remoteClusterId} at ${peerAddresses(remoteIpInfos)}`;
}

function meaningOf(status: number): string {
  return describeStatus(status).meaning.replace(/\.$/, '');
}

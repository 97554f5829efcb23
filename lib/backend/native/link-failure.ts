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
  if (failed.length === 0) return linkedAll(error, elapsedMs);
  const [only] = failed;
  const texts =
    only !== undefined && failed.length === 1
      ? [`${place(only.cluster)}: ${meaningOf(only.status)}`]
      : failed.map(({ cluster, status }) => `${place(cluster)}: ${meaningOf(status)} (${describeStatus(status).name})`);
  const message = `${shortList(texts).join('; ')}; after ${Math.round(elapsedMs)} ms`;
  return new LLMException(statusCode, { operation, message, detail, results, recovery, remedy, cause });
}

/** The library said that the call failed, and of each cluster that it did not. */
function linkedAll(error: LLMException, elapsedMs: number): LLMException {
  const { statusCode, operation, detail, results, cause } = error;
  return new LLMException(statusCode, {
    operation,
    message: `the library reports ${describeStatus(statusCode).name} for the call, and success for each of its clusters; after ${Math.round(elapsedMs)} ms`,
    remedy:
      operation === 'linkClusters'
        ? 'Take the clusters as linked, and check with a transfer; the logs of the library say what has failed.'
        : 'Take the clusters as unlinked on this side; the logs of the library say what has failed.',
    recovery: 'none',
    detail,
    results,
    cause,
  });
}

function place({ remoteClusterId, remoteIpInfos }: ClusterInfo): string {
  return `cluster ${remoteClusterId} at ${peerAddresses(remoteIpInfos)}`;
}

function meaningOf(status: number): string {
  return describeStatus(status).meaning.replace(/\.$/, '');
}

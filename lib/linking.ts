import type { BackendOptions, ClusterInfo } from './backend/backend';
import { unregisterHeldCaches } from './cache-unregistration';
import { LLMException, withRemedy } from './exception';
import { guardLink } from './guard/link';
import type { Instance } from './instance';
import { statusesOf } from './links';
import { LLMStatusCode } from './status';

const LISTEN = 'llm.ListenIpInfo';

export interface RoleSwitch {
  readonly from: number;
  readonly to: number;
}

/** LinkLlmClusters. @returns one status per cluster */
export async function linkClusters(
  instance: Instance,
  clusters: readonly ClusterInfo[],
  timeoutMs: number,
): Promise<readonly number[]> {
  const operation = 'linkClusters';
  const { backend, links } = instance;
  return await instance.run(operation, () =>
    instance.inTurn(operation, async () => {
      if (instance.guards) guardLink(clusters);
      instance.checkResponsive(operation, clusters);
      try {
        const statuses = await instance.watched({ operation, clusters, timeoutMs }, () =>
          backend.linkLlmClusters(clusters, timeoutMs),
        );
        links.link(clusters, statuses);
        return statuses;
      } catch (error) {
        links.link(clusters, statusesOf(clusters, error));
        throw error;
      } finally {
        instance.holdWhileInUse();
      }
    }),
  );
}

/** UnlinkLlmClusters, when the transfers with these clusters have ended. @returns one status per cluster */
export async function unlinkClusters(
  instance: Instance,
  clusters: readonly ClusterInfo[],
  timeoutMs: number,
  force: boolean,
): Promise<readonly number[]> {
  const operation = 'unlinkClusters';
  const { backend, links } = instance;
  return await instance.run(operation, async () => {
    instance.checkResponsive(operation, clusters);
    const turnstile = instance.peers.close(clusters.map(({ remoteClusterId }) => remoteClusterId));
    const unlink = () => backend.unlinkLlmClusters(clusters, timeoutMs, force);
    try {
      return await instance.inTurn(operation, async () => {
        for (const transfers of turnstile.before) {
          // One that waits for nothing reaches the library on the caller's turn.
          if (transfers.count > 0) await instance.idle(operation, transfers, 'the transfers with its peers');
        }
        try {
          // By force as well: it connects to nobody, but may wait for the transport to let go of the link.
          const statuses = await instance.watched({ operation, clusters, timeoutMs }, unlink);
          links.unlink(clusters, statuses);
          return statuses;
        } catch (error) {
          links.unlink(clusters, statusesOf(clusters, error));
          throw error;
        } finally {
          instance.holdWhileInUse();
          await unregisterHeldCaches(instance);
        }
      });
    } finally {
      turnstile.open();
    }
  });
}

/**
 * SetRole.
 * @param roles the role that the instance has, and the one that it is to have
 * @param check called when its turn has come
 */
export async function switchRole(
  instance: Instance,
  roles: RoleSwitch,
  options: BackendOptions,
  check: () => void,
): Promise<void> {
  const operation = 'switchRole';
  const { backend, links } = instance;
  await instance.run(operation, () =>
    instance.inTurn(operation, async () => {
      check();
      try {
        await instance.watched({ operation }, () => backend.setRole(roles.to, options));
      } catch (error) {
        await listenAgain(instance, roles.from, options, error);
        throw links.isHixl ? ofHixl(error) : error;
      }
      links.switchRole(options);
      instance.holdWhileInUse();
      await unregisterHeldCaches(instance);
    }),
  );
}

/** With hixl another thing is in the way of a role switch than what the table of statuses says of the older engine. */
function ofHixl(error: unknown): unknown {
  if (!(error instanceof LLMException) || error.statusCode !== LLMStatusCode.LLM_FEATURE_NOT_ENABLED) return error;
  return withRemedy(
    error,
    'With the hixl backend the listen address cannot change: leave it out, or repeat the one given to init.',
  );
}

/**
 * Where the new address cannot be bound the library has closed the old listener already: peers could not link any more,
 * and nothing would say so.
 */
async function listenAgain(instance: Instance, role: number, options: BackendOptions, error: unknown): Promise<void> {
  const { backend, guards, isLost, links } = instance;
  const { listenIpInfo: before } = links;
  const failedToBind = error instanceof LLMException && error.statusCode === LLMStatusCode.LLM_FAILED;
  if (!guards || isLost || !failedToBind || before === undefined || options[LISTEN] === undefined) return;
  try {
    await instance.watched({ operation: 'switchRole' }, () => backend.setRole(role, { [LISTEN]: before }));
  } catch (again) {
    process.emitWarning(
      `cluster ${instance.clusterId} no longer listens on ${before}: the new address could not be bound, and listening ` +
        `on the old one again failed too: ${String(again)}`,
      'LLMDataDistListenWarning',
    );
  }
}

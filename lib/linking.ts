import type { BackendOptions, ClusterInfo } from './backend/backend';
import { unregisterHeldCaches } from './cache-unregistration';
import type { Instance } from './instance';
import { statusesOf } from './links';

/** LinkLlmClusters. @returns one status per cluster */
export async function linkClusters(
  instance: Instance,
  clusters: readonly ClusterInfo[],
  timeoutMs: number,
): Promise<readonly number[]> {
  const operation = 'linkClusters';
  const { backend, links } = instance;
  return instance.run(operation, () =>
    instance.inTurn(operation, async () => {
      try {
        const statuses = await instance.watched({ operation, clusters, timeoutMs }, () =>
          backend.linkLlmClusters(clusters, timeoutMs),
        );
        links.link(clusters, statuses);
        return statuses;
      } catch (error) {
        links.link(clusters, statusesOf(clusters, error));
        throw error;
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
  return instance.run(operation, async () => {
    const turnstile = instance.peers.close(clusters.map(({ remoteClusterId }) => remoteClusterId));
    const unlink = () => backend.unlinkLlmClusters(clusters, timeoutMs, force);
    try {
      return await instance.inTurn(operation, async () => {
        for (const transfers of turnstile.before) {
          // One that waits for nothing reaches the library on the caller's turn.
          if (transfers.count > 0) await instance.idle(operation, transfers, 'the transfers with its peers');
        }
        try {
          // By force it connects to nobody, and cannot hang.
          const statuses = force ? await unlink() : await instance.watched({ operation, clusters, timeoutMs }, unlink);
          links.unlink(clusters, statuses);
          return statuses;
        } catch (error) {
          links.unlink(clusters, statusesOf(clusters, error));
          throw error;
        } finally {
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
 * @param check called when its turn has come
 */
export async function switchRole(
  instance: Instance,
  role: number,
  options: BackendOptions,
  check: () => void,
): Promise<void> {
  const operation = 'switchRole';
  const { backend, links } = instance;
  return instance.run(operation, () =>
    instance.inTurn(operation, async () => {
      check();
      await instance.watched({ operation }, () => backend.setRole(role, options));
      links.switchRole(options);
      await unregisterHeldCaches(instance);
    }),
  );
}

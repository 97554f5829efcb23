import type { BackendOptions } from './backend/backend';
import { unregisterHeldCaches } from './cache-unregistration';
import type { CallLimits } from './call-options';
import type { CheckedCluster } from './cluster';
import { LLMException, withAdvice } from './exception';
import { guardLink } from './guard/link';
import type { Instance } from './instance';
import type { LimitedCall } from './limited-call';
import { statusesOf } from './links';
import type { Turnstile } from './peers';
import { LLMStatusCode } from './status';
import type { Uses } from './uses';

const TRANSFERS = 'the transfers with its peers';
const LISTEN = 'llm.ListenIpInfo';

export interface RoleSwitch {
  readonly from: number;
  readonly to: number;
}

/** The transfers with a peer that were called before a link call. */
interface Before {
  readonly cluster: CheckedCluster;
  readonly transfers: readonly Uses[];
}

/**
 * LinkLlmClusters, when the transfers have ended that were called before it, with those clusters to which it may make a link. From the
 * call on, keys are refused as over the links that it makes.
 * @returns one status per cluster */
export async function linkClusters(
  instance: Instance,
  clusters: readonly CheckedCluster[],
  timeoutMs: number,
  limits?: CallLimits,
): Promise<readonly number[]> {
  const operation = 'linkClusters';
  const { backend, links, lives } = instance;
  const note = (statuses: readonly number[]) => {
    links.link(clusters, statuses);
    lives.link(clusters, statuses);
  };
  const link = async (before: readonly Before[], call: LimitedCall | undefined) => {
    if (instance.guards) guardLink(clusters);
    instance.checkResponsive(operation, clusters);
    for (const { cluster, transfers } of before) {
      // One that was let through without a link may wait in the library, and must not go over this one.
      for (const each of transfers)
        if (each.count > 0 && lives.mayLink(cluster)) await instance.idle(operation, each, TRANSFERS, call);
    }
    try {
      const statuses = await instance.watched(
        { operation, clusters, timeoutMs },
        () => backend.linkLlmClusters(clusters, timeoutMs),
        call,
      );
      note(statuses);
      return statuses;
    } catch (error) {
      note(statusesOf(clusters, error));
      throw error;
    } finally {
      instance.holdWhileInUse();
    }
  };
  return await instance.run(
    operation,
    async (call) => {
      if (!instance.guards) return await instance.inTurn(operation, () => link([], call), call);
      const pending = lives.begin(clusters);
      const before = clusters.map((cluster) => ({
        cluster,
        transfers: instance.peers.before(cluster.remoteClusterId),
      }));
      const answer = instance.inTurn(operation, () => link(before, call), call);
      call?.onWithdrawal(pending.end);
      return await holding(pending, pending.end, answer);
    },
    undefined,
    limits,
  );
}

/** UnlinkLlmClusters, when the transfers with these clusters have ended. @returns one status per cluster */
export async function unlinkClusters(
  instance: Instance,
  clusters: readonly CheckedCluster[],
  timeoutMs: number,
  force: boolean,
  limits?: CallLimits,
): Promise<readonly number[]> {
  const operation = 'unlinkClusters';
  const { backend, links, lives, linkEnds } = instance;
  const note = (statuses: readonly number[]) => {
    links.unlink(clusters, statuses);
    lives.unlink(clusters, statuses, force);
    linkEnds.unlink(clusters, statuses);
  };
  const unlink = async (turnstile: Turnstile, call: LimitedCall | undefined) => {
    for (const transfers of turnstile.before) {
      // One that waits for nothing reaches the library on the caller's turn.
      if (transfers.count > 0) await instance.idle(operation, transfers, TRANSFERS, call);
    }
    try {
      // By force as well: it makes no connection, but may wait for the transport to let go of the link.
      const statuses = await instance.watched(
        { operation, clusters, timeoutMs },
        () => backend.unlinkLlmClusters(clusters, timeoutMs, force),
        call,
      );
      note(statuses);
      return statuses;
    } catch (error) {
      note(statusesOf(clusters, error));
      throw error;
    } finally {
      instance.holdWhileInUse();
      await unregisterHeldCaches(instance);
    }
  };
  return await instance.run(
    operation,
    async (call) => {
      instance.checkResponsive(operation, clusters);
      const turnstile = instance.peers.close(clusters.map(({ remoteClusterId }) => remoteClusterId));
      const answer = instance.inTurn(operation, () => unlink(turnstile, call), call);
      call?.onWithdrawal(turnstile.open);
      return await holding(turnstile, turnstile.open, answer);
    },
    undefined,
    limits,
  );
}

/** Keeps a turnstile closed, or a link pending, until the answer has come. */
function holding<T>(held: { isHeld: boolean }, end: () => void, answer: Promise<T>): Promise<T> {
  const opening = async () => {
    try {
      return await answer;
    } finally {
      end();
    }
  };
  const ended = opening();
  // What ends it waits already: nothing may come in between.
  held.isHeld = true;
  return ended;
}

/**
 * SetRole.
 * @param roles the role that the instance has, and the one that it is to have
 * @param steps called when its turn has come, and when it has succeeded: also where its caller does not wait any more
 */
export async function switchRole(
  instance: Instance,
  roles: RoleSwitch,
  options: BackendOptions,
  steps: { readonly check: () => void; readonly done: () => void },
  limits?: CallLimits,
): Promise<void> {
  const operation = 'switchRole';
  const { backend, links, lives } = instance;
  const set = async (call: LimitedCall | undefined) => {
    steps.check();
    try {
      await instance.watched({ operation }, () => backend.setRole(roles.to, options), call);
    } catch (error) {
      await listenAgain(instance, roles.from, options, error);
      throw links.isHixl ? ofHixl(error) : error;
    }
    if (links.switchRole(options)) {
      lives.unlinkAll();
      instance.linkEnds.unlinkAll();
    }
    instance.holdWhileInUse();
    await unregisterHeldCaches(instance);
    steps.done();
  };
  await instance.run(operation, (call) => instance.inTurn(operation, () => set(call), call), undefined, limits);
}

/** With hixl another thing is in the way of a role switch than what the table of statuses says of the older engine. */
function ofHixl(error: unknown): unknown {
  if (!(error instanceof LLMException) || error.statusCode !== LLMStatusCode.LLM_FEATURE_NOT_ENABLED) return error;
  return withAdvice(
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
  if (
    !guards ||
    isLost ||
    backend.isDead === true ||
    !failedToBind ||
    before === undefined ||
    options[LISTEN] === undefined
  )
    return;
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

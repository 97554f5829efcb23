import type { Backend, ClusterInfo } from './backend/backend';
import { Deadline } from './deadline';
import { LLMException } from './exception';
import { LLMStatusCode } from './status';

/** The end of a link that has failed. */
export interface LinkEnd {
  /** Resolves when the peer has been unlinked, and the transport has let go of the link. */
  readonly ended: Promise<void>;
  /** Whether the peer has been unlinked. */
  readonly isUnlinked: boolean;
}

interface Waiting extends LinkEnd {
  isUnlinked: boolean;
  readonly resolve: () => void;
  readonly reject: (loss: LLMException) => void;
}

/** Statuses with the recovery `relink` that come before anything is started. */
const NOTHING_STARTED: ReadonlySet<number> = new Set([
  LLMStatusCode.LLM_NOT_YET_LINK,
  LLMStatusCode.LLM_KV_CACHE_NOT_EXIST,
  LLMStatusCode.LLM_PARAM_INVALID,
]);

/** Whether a transfer that failed so has ended its link, and may go on in the transport until the link is unlinked. */
export function endsLink(error: unknown): error is LLMException {
  return error instanceof LLMException && error.recovery === 'relink' && !NOTHING_STARTED.has(error.statusCode);
}

/** Waits for the unlink of links that have failed: only that ends what the transport may still do. */
export class LinkEnds {
  readonly #backend: Backend;
  readonly #waiting = new Map<bigint, Waiting>();

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** What ends when the peer has been unlinked, or all are. It rejects when the instance is lost. */
  of(clusterId: bigint): LinkEnd {
    return this.#waiting.get(clusterId) ?? this.#wait(clusterId);
  }

  unlink(clusters: readonly ClusterInfo[], statuses: readonly number[]): void {
    for (const [i, { remoteClusterId }] of clusters.entries()) {
      const waiting = this.#waiting.get(remoteClusterId);
      const status = statuses[i] ?? LLMStatusCode.LLM_SUCCESS;
      const isGone = status === LLMStatusCode.LLM_SUCCESS || status === LLMStatusCode.LLM_NOT_YET_LINK;
      if (waiting === undefined || !isGone) continue;
      this.#waiting.delete(remoteClusterId);
      this.#end(waiting);
    }
  }

  /** No link is left. */
  unlinkAll(): void {
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const waiting of all) this.#end(waiting);
  }

  giveUp(loss: LLMException): void {
    for (const { reject } of this.#waiting.values()) reject(loss);
    this.#waiting.clear();
  }

  #wait(clusterId: bigint): Waiting {
    let resolve = (): void => undefined;
    let reject: (loss: LLMException) => void = resolve;
    const ended = new Promise<void>((onEnd, onLoss) => {
      resolve = onEnd;
      reject = onLoss;
    });
    // Nothing has to be done with it.
    ended.catch(() => undefined);
    const waiting = { ended, isUnlinked: false, resolve, reject };
    this.#waiting.set(clusterId, waiting);
    return waiting;
  }

  /** Some time later where tasks of a device go on for a while. */
  #end(waiting: Waiting): void {
    const { resolve } = waiting;
    waiting.isUnlinked = true;
    const { settleAfterUnlinkMs: ms = 0, clock } = this.#backend;
    if (ms === 0) resolve();
    else new Deadline(ms, () => 0, resolve, clock);
  }
}

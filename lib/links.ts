import type { BackendOptions, ClusterInfo } from './backend/backend';
import { LLMException } from './exception';
import { shortList } from './short-list';
import { LLMStatusCode } from './status';

/** Anything else may leave a link on this side: the library makes its end before it hears how the other one ended. */
export const LEAVES_NO_LINK: ReadonlySet<number> = new Set([
  LLMStatusCode.LLM_LINK_FAILED,
  LLMStatusCode.LLM_PARAM_INVALID,
]);

/**
 * The links that an instance may have, as far as that can be known on this side: those that it made itself, under the
 * ids that it gave them, and that it has not unlinked. Links that peers make are invisible, so that there may be some
 * as long as the instance listens.
 */
export class Links {
  /** The last link call, since the last unlink, that may have made a link under an id. */
  readonly #known = new Map<bigint, number>();
  #made = 0;
  /** The last link call that may have made a link, whatever its result. */
  #last = 0;
  #listens: string | undefined;
  #hixl = false;

  /** Whether the transfer backend is hixl. */
  get isHixl(): boolean {
    return this.#hixl;
  }

  /** The link calls so far. */
  get made(): number {
    return this.#made;
  }

  /** The clusters that a link call may have linked to, and no unlink has ended. */
  get clusters(): bigint[] {
    return [...this.#known.keys()];
  }

  /** Initialize has succeeded with these options. */
  start(options: BackendOptions): void {
    this.#listens = options['llm.ListenIpInfo'];
    this.#hixl = options['llm.TransferBackend'] === 'hixl';
  }

  /**
   * SetRole has succeeded with these options. hixl keeps its listener and its links; the default backend refuses while links exist.
   * @returns whether no link is left
   */
  switchRole(options: BackendOptions): boolean {
    if (this.#hixl) return false;
    this.#listens = options['llm.ListenIpInfo'];
    this.#known.clear();
    return true;
  }

  /** Finalize has seen to it. */
  noneLeft(): void {
    this.#listens = undefined;
    this.#known.clear();
  }

  /** Whether there may be a link: one that this side made, or one of a peer where it listens. */
  get mayExist(): boolean {
    return this.#listens !== undefined || this.#known.size > 0;
  }

  /** Where it listens. */
  get listenIpInfo(): string | undefined {
    return this.#listens;
  }

  /** What a link call made, by the statuses of its clusters. */
  link(clusters: readonly ClusterInfo[], statuses: readonly number[]): void {
    this.#made += 1;
    for (const [i, { remoteClusterId }] of clusters.entries()) {
      if (LEAVES_NO_LINK.has(statuses[i] ?? LLMStatusCode.LLM_SUCCESS)) continue;
      this.#last = this.#made;
      this.#known.set(remoteClusterId, this.#made);
    }
  }

  /** What an unlink call ended. */
  unlink(clusters: readonly ClusterInfo[], statuses: readonly number[]): void {
    for (const [i, { remoteClusterId }] of clusters.entries()) {
      if (statuses[i] === LLMStatusCode.LLM_SUCCESS) this.#known.delete(remoteClusterId);
    }
  }

  /**
   * Whether a link can be left that holds memory which the library has had since {@link made} was `since`: a link binds
   * all that is registered when it is made.
   */
  mayHold(since: number): boolean {
    if (this.#listens !== undefined) return true;
    // Most often it was registered after all of them, and there may be a thousand.
    if (since >= this.#last) return false;
    for (const made of this.#known.values()) if (made > since) return true;
    return false;
  }

  /**
   * What has to be done so that no link can be left that holds such memory.
   * @param canTell whether the backend finds out that no peer is linked any more
   */
  remedy(since: number, canTell: boolean): string {
    const ids = [...this.#known].flatMap(([id, made]) => (made > since ? [`cluster ${id}`] : []));
    const unlink = ids.length === 0 ? [] : [`unlink ${shortList(ids).join(', ')}`];
    const once = 'once for all calls, when the transfers have ended';
    if (this.#listens === undefined) {
      // An unlink or a role switch has ended the last one, and gives the memory back before it returns.
      return unlink.length === 0
        ? 'wait until the unlink or role switch that runs has ended'
        : `${once}, ${unlink.join()}`;
    }
    if (this.#hixl) {
      return `${once}, call finalize(): with the transfer backend hixl peers may hold links to this instance until then`;
    }
    if (canTell) {
      const peers = 'have the peers unlink this cluster, and unlink those here with force: true that have ended';
      const last = 'register or unregister a cache; finalize() gives all back as well';
      return `${once}, ${[...unlink, peers, last].join(', then ')}`;
    }
    const stop = 'stop listening with switchRole(), which succeeds when no peer is linked any more';
    return `${once}, ${[...unlink, stop].join(', then ')}`;
  }
}

/** The statuses of the clusters of a call that was rejected; all the same where the library does not distinguish them. */
export function statusesOf(clusters: readonly ClusterInfo[], error: unknown): number[] {
  const { results = [], statusCode = LLMStatusCode.LLM_FAILED } = error instanceof LLMException ? error : {};
  return clusters.map((_, i) => results[i]?.statusCode ?? statusCode);
}

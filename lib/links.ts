import type { BackendOptions, ClusterInfo } from './backend/backend';
import { LLMException } from './exception';
import { shortList } from './short-list';
import { LLMStatusCode } from './status';

/** The link calls between which memory was registered: links that were made then hold it, and no others. */
export interface Exposure {
  /** Link calls that had been made when it was registered, and when it was not to be any more. */
  readonly from: number;
  readonly to: number;
  /** What a peer may have linked while this side listened, up to the role switch that proves that nothing is left. */
  readonly incoming: number | undefined;
}

/** The first and the last link call since the last unlink that may have made a link under an id. */
interface KnownLink {
  readonly first: number;
  last: number;
}

/** Anything else may leave a link on this side: the library makes its end before it hears what became of the other one. */
const LEAVES_NO_LINK: ReadonlySet<number> = new Set([LLMStatusCode.LLM_LINK_FAILED, LLMStatusCode.LLM_PARAM_INVALID]);

/** More would be a wall of text. */
const MAX_TOLD = 16;

/**
 * The links that an instance may have, as far as that can be known on this side: those that it made itself, under the
 * ids that it gave them, and that it has not unlinked. Links that peers make are invisible, so that there may be some
 * as long as the instance listens.
 */
export class Links {
  readonly #known = new Map<bigint, KnownLink>();
  #made = 0;
  /** The last link call that may have made a link, whatever has become of it. */
  #last = 0;
  #listens: string | undefined;
  #hixl = false;
  /** Counts the moments at which it was certain that no link is left. */
  #proofs = 0;

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

  /** SetRole has succeeded with these options. hixl keeps its listener and its links; the default backend refuses while links exist. */
  switchRole(options: BackendOptions): void {
    if (this.#hixl) return;
    this.#listens = options['llm.ListenIpInfo'];
    // Where it goes on listening, the next peer may have linked by now.
    if (this.#listens === undefined) this.noneLeft();
    else this.#known.clear();
  }

  /** A role switch has proved it, or Finalize has seen to it. */
  noneLeft(): void {
    this.#known.clear();
    this.#proofs += 1;
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
      const known = this.#known.get(remoteClusterId);
      if (known === undefined) this.#known.set(remoteClusterId, { first: this.#made, last: this.#made });
      else known.last = this.#made;
    }
  }

  /** What an unlink call ended. */
  unlink(clusters: readonly ClusterInfo[], statuses: readonly number[]): void {
    for (const [i, { remoteClusterId }] of clusters.entries()) {
      if (statuses[i] === LLMStatusCode.LLM_SUCCESS) this.#known.delete(remoteClusterId);
    }
  }

  /** Of memory that was registered when {@link made} was `from`, and is not to be any more. */
  exposure(from: number): Exposure {
    return { from, to: this.#made, incoming: this.#listens !== undefined ? this.#proofs : undefined };
  }

  /** Whether a link can be left that holds such memory. */
  mayHold(exposure: Exposure): boolean {
    if (exposure.incoming === this.#proofs) return true;
    // Most often it was registered after all of them, and there may be a thousand.
    if (exposure.from >= this.#last) return false;
    for (const known of this.#known.values()) if (overlap(known, exposure)) return true;
    return false;
  }

  /** What has to be done so that no link can be left that holds such memory. */
  remedy(exposure: Exposure): string {
    const ids = [...this.#known].flatMap(([id, known]) => (overlap(known, exposure) ? [`cluster ${id}`] : []));
    const unlink = ids.length === 0 ? [] : [`unlink ${shortList(ids, MAX_TOLD).join(', ')}`];
    if (exposure.incoming !== this.#proofs) return unlink.join();
    if (this.#hixl)
      return 'call finalize(): with the transfer backend hixl peers may hold links to this instance until then';
    return [...unlink, 'stop listening with switchRole(), which succeeds when no peer is linked any more'].join(
      ', then ',
    );
  }
}

function overlap(link: KnownLink, exposure: Exposure): boolean {
  return link.last > exposure.from && link.first <= exposure.to;
}

/** The statuses of the clusters of a call that was rejected; all the same where the library tells none apart. */
export function statusesOf(clusters: readonly ClusterInfo[], error: unknown): number[] {
  const { results = [], statusCode = LLMStatusCode.LLM_FAILED } = error instanceof LLMException ? error : {};
  return clusters.map((_, i) => results[i]?.statusCode ?? statusCode);
}

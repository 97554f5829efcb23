import type { CheckedCluster } from './cluster';
import { LLMException } from './exception';
import { LEAVES_NO_LINK } from './links';
import { LLMStatusCode } from './status';
import type { Recovery } from './status';

/** Lives of one peer that are remembered as refused; of more the oldest are forgotten. */
const MOST_REFUSED = 64;
/** Peers that are remembered without a link and without a refused life; of more the oldest are forgotten. */
const MANY_PEERS = 4096;

/** What is looked at of a key. */
interface KeyOfLife {
  readonly clusterId: bigint;
  readonly life: string | undefined;
  readonly version: number | undefined;
}

/** What is advised after a status that ends the link, or that may end the process of the peer. */
const ENDS_LINK: ReadonlySet<Recovery> = new Set(['relink', 'fatal']);
/** Statuses with which nothing has been moved: where no other answer came, no key was used over the link. */
const MOVED_NOTHING: ReadonlySet<number> = new Set([LLMStatusCode.LLM_PARAM_INVALID, LLMStatusCode.LLM_NOT_YET_LINK]);

/** One link to a peer, and the life of the peer that it is for. */
export class LinkLife {
  /**
   * - `none`: no link is known of. A peer may have made one, which shows when a transfer succeeds
   * - `perhaps`: a link call failed that may have left one
   * - `linked`
   */
  state: 'none' | 'perhaps' | 'linked';
  /** Whether a status has shown that the link or the peer is gone. The library may keep its end of the link. */
  hasEnded = false;
  /** The life that was stated when the link was made. */
  readonly stated: string | undefined;
  /** Without a stated life, that of the first key that was used. */
  #used: string | undefined;
  /** Whether a key was used beyond doubt. */
  #isUsed = false;
  /** Transfers whose answer is to come. */
  #running = 0;
  /** The greatest version of the keys that succeeded. */
  #version = 0;

  constructor(state: LinkLife['state'], stated?: string) {
    this.state = state;
    this.stated = stated;
  }

  /** The life that was stated, else that of the first key that was used over the link. */
  get life(): string | undefined {
    return this.stated ?? this.#used;
  }

  /** The life of the keys that were used over the link. */
  get used(): string | undefined {
    return this.#used;
  }

  /** A key is handed to the library. */
  use(life: string): void {
    this.#used ??= life;
    this.#running += 1;
  }

  succeed({ life, version = 0 }: KeyOfLife): void {
    this.state = 'linked';
    if (life === undefined) return;
    this.#running -= 1;
    this.#isUsed = true;
    if (version > this.#version) this.#version = version;
  }

  /** A transfer has failed, or comes back failed after it was given up. */
  endBy({ statusCode, recovery }: LLMException): void {
    const wasLink = this.state === 'linked' || statusCode !== LLMStatusCode.LLM_NOT_YET_LINK;
    if (wasLink && ENDS_LINK.has(recovery) && statusCode !== LLMStatusCode.LLM_KV_CACHE_NOT_EXIST) this.hasEnded = true;
  }

  fail({ life }: KeyOfLife, error: LLMException): void {
    const { statusCode } = error;
    this.endBy(error);
    if (life === undefined) return;
    if (!MOVED_NOTHING.has(statusCode)) this.#isUsed = true;
    this.#leave();
  }

  /** The call of a key was taken back before the library used the key. */
  withdraw({ life }: KeyOfLife): void {
    if (life !== undefined) this.#leave();
  }

  #leave(): void {
    this.#running -= 1;
    if (!this.#isUsed && this.#running === 0) this.#used = undefined;
  }

  /** Whether the cache of a key was registered after this link had copied the peer's table, as far as keys say. */
  wasMadeBefore({ life, version }: KeyOfLife): boolean {
    return life !== undefined && life === this.life && version !== undefined && version > this.#version;
  }
}

/** A link call from the moment of the call on: the library may make the link at any time, and JavaScript learns of it later. */
export interface PendingLink {
  /** Set in the turn in which it was made, by the call that ends it: otherwise it ends without one. */
  isHeld: boolean;
  readonly end: () => void;
}

/** What is known of one peer. */
export class PeerLives {
  link = new LinkLife('none');
  /** The links that are being made, with the lives that were stated. */
  readonly pending = new Map<PendingLink, string | undefined>();
  /** Lives that were used over links which ended otherwise than by an unlink that the peer has answered. */
  readonly refused = new Set<string>();

  /**
   * Why a key is refused over the link to its peer as it is now; `undefined` where it is not. Without a link the library says
   * so; a link that the peer has made meanwhile is not seen.
   */
  refusalOf({ clusterId, life }: KeyOfLife): string | undefined {
    const { link, pending, refused } = this;
    // As good as always.
    if (life === undefined || (link.life === life && pending.size === 0)) return undefined;
    // Over one that has ended it is a link of the next life, which that has made itself.
    if (link.life !== undefined && link.life !== life && !link.hasEnded)
      return `the link to cluster ${clusterId} is for its life ${link.life}`;
    for (const stated of pending.values())
      if (stated !== undefined && stated !== life)
        return `a link to cluster ${clusterId} is being made for its life ${stated}`;
    const isOverLink = link.state !== 'none' && link.life !== life;
    if ((!isOverLink && !this.#hasPendingWithoutLife) || !refused.has(life)) return undefined;
    return `that life was used over a link to cluster ${clusterId} which failed or was ended by force`;
  }

  get #hasPendingWithoutLife(): boolean {
    for (const stated of this.pending.values()) if (stated === undefined) return true;
    return false;
  }

  /** The peer has answered an unlink: keys are as good as before. */
  forget(): void {
    this.link = new LinkLife('none');
    this.refused.clear();
  }

  /** A key with a life is handed to the library. @returns the link that it is used over */
  use(life: string): LinkLife {
    const { link } = this;
    if (link.hasEnded && link.life !== undefined && link.life !== life) this.endLink(new LinkLife('perhaps'));
    this.link.use(life);
    return this.link;
  }

  /** The link is gone, and its peer may be too. */
  endLink(next: LinkLife): void {
    const { used } = this.link;
    if (used !== undefined) this.#refuse(used);
    this.link = next;
    // What is stated is believed.
    if (next.stated !== undefined) this.refused.delete(next.stated);
  }

  #refuse(life: string): void {
    this.refused.delete(life);
    this.refused.add(life);
    for (const oldest of this.refused) {
      if (this.refused.size <= MOST_REFUSED) return;
      this.refused.delete(oldest);
    }
  }
}

/**
 * Which lives of its peers the links of an instance are for.
 *
 * Cache ids start at 1 in every life, and the library cannot distinguish the lives: over a link to the next life an old key names
 * another cache. Lives have no order, so that all that can be compared is whether two are equal. A link has one life. Those
 * that were used over a link which ended by force, by a failure or with its peer are refused by the links that are made after
 * it without a life, until an unlink succeeds or the life is stated again. A link that is being made refuses as one that is made.
 */
export class LinkLives {
  readonly #peers = new Map<bigint, PeerLives>();
  #limit = MANY_PEERS;

  /** The link to a peer that a key without a life goes over, where something is known of it. */
  linkTo(clusterId: bigint): LinkLife | undefined {
    return this.#peers.get(clusterId)?.link;
  }

  /**
   * Whether a link call may make a link that transfers of before must not go over. Where there is a link already, the library only
   * says so; but the peer may have ended that one, which does not show here.
   */
  mayLink({ remoteClusterId, life }: CheckedCluster): boolean {
    const link = this.linkTo(remoteClusterId);
    if (link?.state !== 'linked' || link.hasEnded) return true;
    return life !== undefined && link.life !== undefined && life !== link.life;
  }

  /** A link call has been made. What it makes refuses keys at once, until it ends. */
  begin(clusters: readonly CheckedCluster[]): PendingLink {
    const peers: PeerLives[] = [];
    const pending: PendingLink = {
      isHeld: false,
      end: () => {
        for (const peer of peers) peer.pending.delete(pending);
      },
    };
    // Before anything is refused: a `vm` timeout may stop the call that makes it at any place.
    queueMicrotask(() => {
      if (!pending.isHeld) pending.end();
    });
    for (const { remoteClusterId, life } of clusters) {
      const peer = this.of(remoteClusterId);
      peers.push(peer);
      peer.pending.set(pending, life);
    }
    return pending;
  }

  /** What a link call made, by the statuses of its clusters. */
  link(clusters: readonly CheckedCluster[], statuses: readonly number[]): void {
    for (const [i, { remoteClusterId, life }] of clusters.entries()) {
      const status = statuses[i] ?? LLMStatusCode.LLM_SUCCESS;
      if (LEAVES_NO_LINK.has(status)) continue;
      const hasLinked = status === LLMStatusCode.LLM_SUCCESS;
      // Where there is a link, a call that fails makes no other one.
      if (!hasLinked && (status === LLMStatusCode.LLM_ALREADY_LINK || this.linkTo(remoteClusterId)?.state === 'linked'))
        this.#linkAgain(remoteClusterId, life);
      else this.of(remoteClusterId).endLink(new LinkLife(hasLinked ? 'linked' : 'perhaps', life));
    }
  }

  /** What an unlink call ended. */
  unlink(clusters: readonly CheckedCluster[], statuses: readonly number[], force: boolean): void {
    for (const [i, { remoteClusterId }] of clusters.entries()) {
      const peer = this.#peers.get(remoteClusterId);
      if (peer === undefined) continue;
      const status = statuses[i] ?? LLMStatusCode.LLM_SUCCESS;
      const hasUnlinked = status === LLMStatusCode.LLM_SUCCESS;
      // The library succeeds without a link too, and that says nothing of the peer.
      if (hasUnlinked && peer.link.state === 'none') continue;
      // The peer has answered: keys are as good as before, unless the link had failed already.
      if (hasUnlinked && !force && !peer.link.hasEnded) {
        peer.forget();
        if (peer.pending.size === 0) this.#peers.delete(remoteClusterId);
      } else if (hasUnlinked || status === LLMStatusCode.LLM_NOT_YET_LINK) peer.endLink(new LinkLife('none'));
      else peer.link.hasEnded = true;
    }
  }

  /** No link is left, and it is not known how each has ended. */
  unlinkAll(): void {
    for (const peer of this.#peers.values()) peer.endLink(new LinkLife('none'));
  }

  /** The instance is finalized, which ends its links. What is refused stays so: the peers may be the same in its next life. */
  end(): void {
    for (const [clusterId, peer] of this.#peers) {
      if (peer.link.hasEnded) peer.endLink(new LinkLife('none'));
      if (peer.refused.size === 0) this.#peers.delete(clusterId);
      else peer.link = new LinkLife('none');
    }
  }

  /** A link call has found a link. A life that was stated is the link's from now on. */
  #linkAgain(clusterId: bigint, life: string | undefined): void {
    const peer = this.of(clusterId);
    if (life === undefined || life === peer.link.life) peer.link.state = 'linked';
    else peer.endLink(new LinkLife('linked', life));
  }

  /** A peer that a key with a life names, or a call. */
  of(clusterId: bigint): PeerLives {
    const known = this.#peers.get(clusterId);
    if (known !== undefined) return known;
    if (this.#peers.size >= this.#limit) this.#forget();
    const peer = new PeerLives();
    this.#peers.set(clusterId, peer);
    return peer;
  }

  /**
   * Peers without a link of which nothing is refused, the oldest first. Keys from a network may name any cluster; a life is refused
   * only of clusters that were linked.
   */
  #forget(): void {
    for (const [clusterId, { link, pending, refused }] of this.#peers) {
      if (this.#peers.size <= MANY_PEERS / 2) break;
      if (link.state === 'none' && refused.size + pending.size === 0) this.#peers.delete(clusterId);
    }
    this.#limit = Math.max(MANY_PEERS, 2 * this.#peers.size);
  }
}

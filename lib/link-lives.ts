/** Lives of one peer that are remembered as refused; of more the oldest are forgotten. */
const MOST_REFUSED = 64;
/** Peers that are remembered without a link; of more the oldest are forgotten. */
const MANY_PEERS = 4096;

/** One link to a peer, and the life of the peer that it is for. */
export class LinkLife {
  /**
   * - `none`: no link is known of. A peer may have made one, which shows when a transfer succeeds
   * - `perhaps`: a link call failed that may have left one
   * - `linked`
   */
  state: 'none' | 'perhaps' | 'linked';
  /** The life that was stated, else that of the first key that was used over the link. */
  life: string | undefined;
  /** Whether a key of that life has been handed to the library. */
  isUsed = false;
  /** Whether a status or an unlink has shown that the link or the peer is gone. The library may keep the link. */
  hasEnded = false;
  /** The greatest version of the keys that succeeded. */
  version = 0;

  constructor(state: LinkLife['state'], life?: string) {
    this.state = state;
    this.life = life;
  }

  /** A key of a life is handed to the library. */
  use(life: string): void {
    this.life ??= life;
    if (this.life === life) this.isUsed = true;
  }

  succeed(life: string, version: number): void {
    this.state = 'linked';
    if (version > this.version && life === this.life) this.version = version;
  }

  /** A status has shown that it is there, or that it was. */
  end(): void {
    this.state = 'linked';
    this.hasEnded = true;
  }

  /** There was no link that a key could have been used over. */
  unuse(): void {
    if (this.state === 'linked') return;
    this.life = undefined;
    this.isUsed = false;
  }
}

/** What is known of one peer. */
class PeerLives {
  link = new LinkLife('none');
  /** Lives that were used over links which ended otherwise than by an unlink that the peer has answered. */
  readonly refused = new Set<string>();

  /** The link is gone, and its peer may be too. */
  endByForce(next: LinkLife): void {
    const { life, isUsed, state } = this.link;
    if (state !== 'none' && isUsed && life !== undefined) this.refuse(life);
    this.link = next;
  }

  refuse(life: string): void {
    this.refused.delete(life);
    this.refused.add(life);
    for (const oldest of this.refused) {
      if (this.refused.size <= MOST_REFUSED) return;
      this.refused.delete(oldest);
    }
  }

  believe(life: string | undefined): void {
    if (life !== undefined) this.refused.delete(life);
  }
}

/**
 * Which lives of its peers the links of an instance are for.
 *
 * Cache ids start at 1 in every life, and the library does not tell lives apart: over a link to the next life an old key names
 * another cache. Lives have no order, so that all that can be compared is whether two are equal. A link has one life. Those
 * that were used over a link which ended by force, by a failure or with its peer are refused by the links that are made after
 * it without a life, until an unlink succeeds or the life is stated again.
 */
export class LinkLives {
  readonly #peers = new Map<bigint, PeerLives>();
  #limit = MANY_PEERS;

  /** The link over which a transfer with a peer goes. */
  linkTo(clusterId: bigint): LinkLife {
    return this.#of(clusterId).link;
  }

  /** The same, where something is known of the peer. */
  knownLinkTo(clusterId: bigint): LinkLife | undefined {
    return this.#peers.get(clusterId)?.link;
  }

  /** Whether the present link to a peer refuses a life that was used over an earlier one. */
  refuses(clusterId: bigint, life: string): boolean {
    const peer = this.#peers.get(clusterId);
    return peer !== undefined && peer.link.state !== 'none' && peer.link.life !== life && peer.refused.has(life);
  }

  /** A link call has made a link, or `perhaps`: with a life that was stated, or without. What was there before is gone. */
  link(clusterId: bigint, life: string | undefined, state: 'linked' | 'perhaps'): void {
    const peer = this.#of(clusterId);
    peer.endByForce(new LinkLife(state, life));
    peer.believe(life);
  }

  /** A link call has found a link. A life that was stated is the link's from now on. */
  linkAgain(clusterId: bigint, life: string | undefined): void {
    const peer = this.#of(clusterId);
    const { link } = peer;
    link.state = 'linked';
    if (life === undefined || life === link.life) return;
    if (link.isUsed && link.life !== undefined) peer.refuse(link.life);
    link.life = life;
    link.isUsed = false;
    link.version = 0;
    peer.believe(life);
  }

  /** An unlink that the peer has answered: keys are as good as before, unless the link had ended before. */
  unlink(clusterId: bigint): void {
    const peer = this.#peers.get(clusterId);
    if (peer === undefined) return;
    if (peer.link.hasEnded) peer.endByForce(new LinkLife('none'));
    else this.#peers.delete(clusterId);
  }

  /** The link is gone without a word from the peer. */
  unlinkByForce(clusterId: bigint): void {
    this.#peers.get(clusterId)?.endByForce(new LinkLife('none'));
  }

  /** No link is left, and it is not known how each has ended. */
  unlinkAllByForce(): void {
    for (const peer of this.#peers.values()) peer.endByForce(new LinkLife('none'));
  }

  clear(): void {
    this.#peers.clear();
  }

  #of(clusterId: bigint): PeerLives {
    const known = this.#peers.get(clusterId);
    if (known !== undefined) return known;
    if (this.#peers.size >= this.#limit) this.#forget();
    const peer = new PeerLives();
    this.#peers.set(clusterId, peer);
    return peer;
  }

  #forget(): void {
    for (const [clusterId, { link }] of this.#peers) {
      if (this.#peers.size <= MANY_PEERS / 2) break;
      if (link.state === 'none') this.#peers.delete(clusterId);
    }
    this.#limit = Math.max(MANY_PEERS, 2 * this.#peers.size);
  }
}

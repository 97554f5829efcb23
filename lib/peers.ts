import { Uses } from './uses';

/** Transfers with one peer since the last unlink that named it. */
class PeerUses extends Uses {
  /** Set while an unlink waits or runs that came before them. */
  opens: Promise<void> | undefined;
}

/** More peers than a cluster has. Ids of peers that nobody uses are forgotten beyond it. */
const FEW = 1024;

/**
 * The peers of one instance: transfers with a peer and an unlink of it exclude each other, because the library's
 * transfer would go on over the link that is being torn down. Who comes first goes first, on both sides.
 */
export class Peers {
  readonly #peers = new Map<bigint, PeerUses>();
  #limit = FEW;

  /** What a transfer with the peer enters, at the call; it starts when {@link PeerUses.opens} has, where that is set. */
  of(clusterId: bigint): PeerUses {
    return this.#peers.get(clusterId) ?? this.#add(clusterId, new PeerUses());
  }

  /**
   * Lets no later transfer with these peers start before the turnstile opens.
   * @param clusterIds may name one several times
   */
  close(clusterIds: Iterable<bigint>): Turnstile {
    const ids = new Set(clusterIds);
    let open = (): void => undefined;
    const opens = new Promise<void>((resolve) => {
      open = resolve;
    });
    const before = Array.from(ids, (id) => this.#peers.get(id)?.busy ?? []).flat();
    const turnstile = { before, open, isHeld: false };
    // Before anything is closed: a `vm` timeout may stop the call that makes it at any place.
    queueMicrotask(() => {
      if (!turnstile.isHeld) open();
    });
    for (const id of ids) {
      const earlier = this.#peers.get(id);
      const uses = new PeerUses(earlier);
      // This unlink may be withdrawn while an earlier one runs.
      const allOpen = earlier?.opens === undefined ? opens : Promise.all([earlier.opens, opens]).then(() => undefined);
      // Ahead of those that wait, so that none of the next ones waits any more.
      void allOpen.then(() => {
        uses.opens = undefined;
      });
      uses.opens = allOpen;
      this.#add(id, uses);
    }
    return turnstile;
  }

  /**
   * The transfers with this peer that were called before, apart from those that are called later.
   */
  before(clusterId: bigint): readonly Uses[] {
    const last = this.#peers.get(clusterId);
    const busy = last?.busy ?? [];
    if (last === undefined || busy.length === 0) return busy;
    const uses = new PeerUses(last);
    const { opens } = last;
    uses.opens = opens;
    void opens?.then(() => {
      uses.opens = undefined;
    });
    this.#add(clusterId, uses);
    return busy;
  }

  #add(clusterId: bigint, uses: PeerUses): PeerUses {
    if (this.#peers.size >= this.#limit) this.#forget();
    this.#peers.set(clusterId, uses);
    return uses;
  }

  #forget(): void {
    for (const [id, uses] of this.#peers)
      if (uses.busy.length === 0 && uses.opens === undefined) this.#peers.delete(id);
    this.#limit = Math.max(FEW, 2 * this.#peers.size);
  }
}

/** What an unlink holds. */
export interface Turnstile {
  /** Transfers that were called before it. */
  readonly before: readonly Uses[];
  /** Set in the turn in which it was made, by the call that opens it: otherwise it opens by itself. */
  isHeld: boolean;
  /** Lets those start that were called since. */
  readonly open: () => void;
}

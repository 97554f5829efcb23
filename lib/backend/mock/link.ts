import { LLMStatusCode } from '../../status';
import type { CacheEntry, Snapshot } from './cache-table';
import { Lane } from './lane';
import { failed, Refusal } from './refusal';
import type { MemoryHandle } from './registered-memory';
import type { Session } from './session';

/**
 * One side of a link: what this side knows of the peer. It lives on when the peer drops its own side, as in the
 * library, where a forced unlink or a Finalize tells the peer nothing. Transfers over it run one after the other, and an
 * unlink waits for them.
 */
export class Link extends Lane {
  closed = false;
  readonly #localSequence: number;
  readonly #peerSequence: number;
  /** The peer's table, copied once: at the first transfer that finds a published one. */
  #table: Snapshot | undefined;

  constructor(
    readonly local: Session,
    readonly peer: Session,
    /** `ip:port` where the peer listens, as far as this side knows; '' for an initiator without a listener. */
    readonly peerAddress: string,
  ) {
    super();
    this.#localSequence = local.memory.sequence;
    this.#peerSequence = peer.memory.sequence;
  }

  get hasTable(): boolean {
    return this.#table !== undefined;
  }

  /** Whether the table was copied, and whether the peer publishes another one by now. */
  get snapshot(): 'none' | 'current' | 'stale' {
    if (this.#table === undefined) return 'none';
    return this.peer.alive && this.#table === this.peer.table.snapshot() ? 'current' : 'stale';
  }

  /** A cache of the peer, as this side saw it when it copied the peer's table. */
  remoteEntry(cacheId: bigint): CacheEntry {
    if (this.#table === undefined) {
      if (!this.peer.alive) throw this.peerGone();
      this.#table = this.peer.table.snapshot();
    }
    const entry = this.#table?.get(cacheId);
    if (entry !== undefined) return entry;
    const { clusterId, alive, table } = this.peer;
    if (alive && table.get(cacheId) !== undefined) {
      throw new Refusal(
        LLMStatusCode.LLM_KV_CACHE_NOT_EXIST,
        `cluster ${clusterId} registered cache ${cacheId} after this link had copied its table of caches`,
        { remedy: 'Unlink, link again and repeat the transfer: the table is copied once per link.' },
      );
    }
    throw new Refusal(
      LLMStatusCode.LLM_KV_CACHE_NOT_EXIST,
      `cluster ${clusterId} had no cache ${cacheId} when this link copied its table of caches`,
    );
  }

  peerGone(): Refusal {
    return failed(`cluster ${this.peer.clusterId} at the other end of the link is gone: it was finalized, or it died`);
  }

  /** Whether the transport may reach local memory through this link: it is bound when the link is made. */
  reachesLocal(handle: MemoryHandle): boolean {
    return handle.live && handle.sequence <= this.#localSequence;
  }

  reachesPeer(handle: MemoryHandle): boolean {
    return handle.live && handle.sequence <= this.#peerSequence;
  }
}

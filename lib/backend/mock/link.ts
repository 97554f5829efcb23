import { LLMStatusCode } from '../../status';
import type { CacheLayout, Snapshot } from './cache-table';
import { Lane } from './lane';
import { LocalEnd } from './local-end';
import type { LinkEnd } from './peer';
import { failed, Refusal } from './refusal';
import type { Session } from './session';

/**
 * One side of a link: what this side knows of the peer. It lives on when the peer drops its own side, as in the
 * library, where a forced unlink or a Finalize gives the peer no notice. Transfers over it run one after the other, and an
 * unlink waits for them.
 */
export class Link extends Lane {
  closed = false;
  /** What the transport reaches of this side through this link. */
  readonly near: LocalEnd;
  /** The peer's table, copied once: at the first transfer that finds a published one. */
  #table: Snapshot<CacheLayout> | undefined;

  constructor(
    readonly local: Session,
    readonly far: LinkEnd,
    /** `ip:port` where the peer listens, as far as this side knows; '' for an initiator without a listener. */
    readonly peerAddress: string,
  ) {
    super();
    this.near = new LocalEnd(local);
  }

  get hasTable(): boolean {
    return this.#table !== undefined;
  }

  /** Whether the table was copied, and whether a peer of this process publishes another one by now. */
  get snapshot(): 'none' | 'current' | 'stale' | 'copied' {
    if (this.#table === undefined) return 'none';
    if (!(this.far instanceof LocalEnd)) return 'copied';
    return this.far.alive && this.#table === this.far.copyTable() ? 'current' : 'stale';
  }

  /** A cache of the peer, as this side saw it when it copied the peer's table. */
  remoteCache(cacheId: bigint): CacheLayout | Promise<CacheLayout> {
    if (this.#table === undefined) {
      if (!this.far.alive) throw this.peerGone();
      const table = this.far.copyTable();
      if (table instanceof Promise) {
        return table.then((copied) => {
          this.#table = copied;
          return this.#find(cacheId);
        });
      }
      this.#table = table;
    }
    return this.#find(cacheId);
  }

  /** Ends when all transfers over the link have, those whose layers are on their way too. */
  idle(): void | Promise<void> {
    return this.run(() => this.far.quiet?.());
  }

  peerGone(): Refusal {
    return peerGone(this.far.clusterId);
  }

  /** Ends this side only. */
  close(): void {
    this.closed = true;
    this.far.release();
  }

  #find(cacheId: bigint): CacheLayout | Promise<CacheLayout> {
    const cache = this.#table?.get(cacheId);
    if (cache !== undefined) return cache;
    const late = this.far.alive && this.far.hasCache(cacheId);
    if (typeof late === 'boolean') throw notInTable(this.far.clusterId, cacheId, late);
    return late.then((isThere) => {
      throw notInTable(this.far.clusterId, cacheId, isThere);
    });
  }
}

export function peerGone(clusterId: bigint): Refusal {
  return failed(`cluster ${clusterId} at the other end of the link is gone: it was finalized, or it died`);
}

/** The library gives a number for both. */
function notInTable(clusterId: bigint, cacheId: bigint, late: boolean): Refusal {
  return new Refusal(
    LLMStatusCode.LLM_KV_CACHE_NOT_EXIST,
    late
      ? `cluster ${clusterId} registered cache ${cacheId} after this link had copied its table of caches`
      : `cluster ${clusterId} had no cache ${cacheId} when this link copied its table of caches`,
  );
}

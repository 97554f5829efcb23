import type { CommResource } from '../../option-text/comm-resource';
import type { CacheEntry, CacheLayout, Snapshot } from './cache-table';
import type { Refusal } from './refusal';
import type { Engine, Session } from './session';
import type { Direction, Span, TensorPairs } from './transfer';

/** How an instance describes itself to one that connects to it, and to one that it connects to. */
export interface Identity {
  /** Tells instances apart, whatever else they say of themselves. */
  readonly instance: string;
  readonly clusterId: bigint;
  readonly engine: Engine;
  readonly deviceId: number;
  /** The ip that it listens on; '' without a listener. */
  readonly host: string;
  /** `ip:port` of the listener; '' without one. */
  readonly address: string;
  /** What a HCCL link is made with; `undefined` while there is none. */
  readonly resource: CommResource | undefined;
  /** The host address that the resource was generated from; a given resource has none. */
  readonly generatedFrom: string | undefined;
}

/**
 * Who answers a connection. One in this process answers at once, one elsewhere with promises; nothing may come between
 * the steps of a link that need not wait.
 */
export interface Peer {
  readonly identity: Identity;
  /**
   * Whether the peer can store a link to `from`. `forced`: instead of one that it holds, after the transfers over that one.
   * @param timeoutMs how long its answer is waited for; one in another process has its limit already
   */
  prepare(from: Identity, forced: boolean, timeoutMs: number): Refusal | undefined | Promise<Refusal | undefined>;
  /** Makes the link: the peer stores its side, if its engine has two, and this side gets its end. */
  commit(from: Session, timeoutMs: number): LinkEnd | Promise<LinkEnd>;
  /** Has the peer unlink cluster `from`, after the transfers that are under way on its side. */
  unlink(from: bigint, timeoutMs: number): void | Promise<void>;
  /** Ends a connection that no link came of. */
  close(): void;
}

/** What one side of a link needs of the other end: the caches there, and their bytes. */
export interface LinkEnd<Cache extends CacheLayout = CacheLayout> {
  readonly clusterId: bigint;
  /** False once the instance was finalized or its process died. */
  readonly alive: boolean;
  /** The table of caches that it publishes; `undefined` while it never had one. */
  copyTable(): Snapshot<Cache> | undefined | Promise<Snapshot<Cache> | undefined>;
  /** Whether it has a cache by now that its table lacked. */
  hasCache(cacheId: bigint): boolean | Promise<boolean>;
  /**
   * Copies `spans` in each pair of tensors, after the other end has checked that all of them can be reached. A push to an end
   * with {@link confirm} may not be over then.
   * @param written called when all of a push is there
   */
  move(
    direction: Direction,
    local: CacheEntry,
    remote: Cache,
    pairs: TensorPairs,
    spans: readonly Span[],
    written?: () => void,
  ): void | Promise<void>;
  /**
   * Ends a push of one or more moves, each of which follows the one before without waiting for its outcome. None is written
   * after one that failed. @throws Refusal of the first one that failed
   */
  confirm?(): Promise<void>;
  /** Resolves when no move is under way. */
  quiet?(): Promise<void>;
  /** This side uses the link no more; the other one may. */
  release(): void;
}

import type { Operation as PublicOperation } from '../../status';
import type { ClusterInfo } from '../backend';
import type { CacheEntry } from './cache-table';
import type { Lane } from './lane';
import type { MockCall } from './mock-call';
import type { Refusal } from './refusal';
import type { MovedBytes } from './transfer';

/** What the methods of the seam are called in the public API. */
export type Operation = Exclude<PublicOperation, 'transferCacheAsync' | 'swapBlocks' | 'readBlocks' | 'writeBlocks'>;

/** Sees every call of a mock instance before anything is done, and may change its course: how a test kit gets in. */
export interface CallObserver {
  begin(operation: Operation): ObservedCall;
}

/** The work of a call on clusters; one outcome per cluster, `undefined` for success. */
export type ClusterWork = (clusters: readonly ClusterInfo[]) => Promise<(Refusal | undefined)[]>;

/** A call that is under way. */
export interface ObservedCall extends ObservedTransfer {
  /** Does the work of the call, or something else. What it throws is what the call is rejected with. */
  run<T>(call: MockCall, work: (call: MockCall) => T | Promise<T>): T | Promise<T>;
  /** As {@link run} for the clusters of a link or unlink call. */
  onClusters(clusters: readonly ClusterInfo[], work: ClusterWork): Promise<(Refusal | undefined)[]>;
  /** The call is over; called once. */
  succeeded(result: unknown): void;
  failed(error: unknown): void;
  /** The call was taken back before it began. Called instead of the others. */
  withdrawn(): void;
}

/** The part of a call that is known where bytes are moved. */
export interface ObservedTransfer {
  /** Whether it has a lane already, and must not wait for it again. */
  holds(lane: Lane): boolean;
  /** How many of the next `tensors` tensors may be copied; the transfer is refused after them when these are fewer. */
  admit(tensors: number): number;
  /** What a transfer is refused with that was admitted in part. */
  cutOff(): Error;
  moved(bytes: MovedBytes): void;
  /** What is sent to another process of these tensors of a cache: bytes that are there cannot be changed from here. */
  outgoing(bytes: MovedBytes): CacheEntry;
  /** As many bytes went to another process. */
  sent(count: number): void;
}

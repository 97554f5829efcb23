import type { Operation } from '../backend/mock/call-observer';
import type { ClusterResult } from '../cluster';
import type { Fault } from './fault';

/**
 * A call that reached the backend of an instance. Calls that the package refuses itself do not, nor do those that were withdrawn
 * while they waited. `allocateCache` comes as `allocateMemory` for each tensor and `registerCache`.
 */
export interface CallRecord {
  /** Calls of a fabric are numbered from 1 on, as they began. */
  readonly number: number;
  /** Whose call. */
  readonly node: bigint;
  readonly op: Operation;
  /** What it was called with: plain values, 64-bit ones as bigint, numbers of blocks as numbers. */
  readonly args: Readonly<Record<string, unknown>>;
  /** The other end of a transfer, or of a link or unlink call that names one cluster. */
  readonly peer: bigint | undefined;
  /** The remote cache of a transfer; the cache that was registered or unregistered. */
  readonly cacheId: bigint | undefined;
  readonly state: 'in flight' | 'succeeded' | 'failed';
  /** The status; `undefined` in flight, and after a failure with anything but an `LLMException`. */
  readonly status: number | undefined;
  /** Its name. */
  readonly code: string | undefined;
  /** What it failed with, in words. */
  readonly message: string | undefined;
  /** Link and unlink calls that failed: the statuses of their clusters. */
  readonly results: readonly ClusterResult[] | undefined;
  /** Bytes that it has moved. */
  readonly bytes: number;
  /** When it began, on the fabric's clock, in milliseconds. */
  readonly startMs: number;
  /** How long it took; `undefined` in flight. */
  readonly durationMs: number | undefined;
  /** The faults that hit it, as they were injected, with nodes by their ids. */
  readonly faults: readonly Fault[];
}

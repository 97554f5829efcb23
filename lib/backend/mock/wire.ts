/**
 * Where the bytes of a transfer are and where they go, as the vendor's benchmarks call it, seen from the side that asked:
 * `D` is device memory and `H` host memory, `r` is the remote one. A push writes (`D2rD`), a pull reads (`rD2D`).
 */
export type WireDirection = 'D2rD' | 'rD2D' | 'D2rH' | 'rH2D' | 'H2rH' | 'rH2H' | 'H2rD' | 'rD2H';

/** What a transfer hands to the wire: a pull, or one layer of a push. */
export interface Load {
  /** Cluster ids. */
  readonly source: bigint;
  readonly destination: bigint;
  readonly direction: WireDirection;
  /** Bytes of each copy in one tensor. */
  readonly copies: readonly number[];
  /** The number of tensors it is in. */
  readonly tensors: number;
  /** Milliseconds after which nothing waits for it any more. */
  readonly limitMs: number;
}

/** The end of a load: it is there, its limit has passed, or the connection broke. */
export type Arrival = 'arrived' | 'late' | 'dropped';

/** What a fabric carries the bytes of transfers with, when that is to take time. */
export interface Wire {
  /**
   * Carries a load; the bytes themselves are the caller's to copy, when it has arrived.
   * @returns nothing when that takes no time
   * @throws Refusal for what the wire has no way for
   */
  carry(load: Load): Promise<Arrival> | undefined;
  /** Drops what is on its way from or to a node, or between two: one of them has died, or they do not reach each other. */
  drop(clusterId: bigint, other?: bigint): void;
}

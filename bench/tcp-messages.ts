import type { CacheKeyByIdAndIndex } from '../lib';

/** The instance in the process of the suite tcp. */
export const OWNER_ID = 1n;

/** What the process of the suite tcp is to make. */
export interface TcpRequest {
  readonly blockBytes: number;
  readonly rows: number;
  readonly tensors: number;
}

/** What it has made. */
export interface TcpOwner {
  /** Where it listens, at 127.0.0.1. */
  readonly port: number;
  readonly key: CacheKeyByIdAndIndex;
  /** Where a block is sent as often as a uint32 says. */
  readonly plainPort: number;
}

import type { CacheKeyByIdAndIndex } from '../../cache';
import type { LLMClusterInfo } from '../../cluster';
import type { ClusterPlan } from './cluster';
import type { BlockPair } from './contents';

/** What the process of a party can be asked to do. */
export interface PartyCalls {
  /** Starts to listen. @returns its life, for its peers */
  readonly start: (plan: ClusterPlan) => Promise<string>;
  /** @returns the key of its cache, for its peers */
  readonly allocate: (blocks: number) => Promise<CacheKeyByIdAndIndex>;
  /** Writes what a run of the prompt computes. */
  readonly fill: (run: number) => Promise<void>;
  readonly link: (peer: LLMClusterInfo, life: string) => Promise<void>;
  readonly unlink: (peer: LLMClusterInfo, options: { readonly force: boolean }) => Promise<void>;
  readonly pull: (key: CacheKeyByIdAndIndex, pair: BlockPair) => Promise<void>;
  /** Pulls block after block into the same place, and begins anew after the last one, until a pull fails. */
  readonly stream: (key: CacheKeyByIdAndIndex) => Promise<void>;
  /** Reads blocks and compares every byte with what that run of the prompt computed for their sources. */
  readonly verify: (run: number, pairs: readonly BlockPair[]) => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** A request to a process. */
export interface PartyRequest {
  readonly id: number;
  readonly call: keyof PartyCalls;
  readonly args: readonly unknown[];
}

/** What a process says. */
export type PartyMessage =
  | { readonly id: number; readonly kind: 'done'; readonly result: unknown }
  /** The clone of an `LLMException`. */
  | { readonly id: number; readonly kind: 'exception'; readonly exception: unknown }
  | { readonly id: number; readonly kind: 'wrong content'; readonly message: string }
  | { readonly id: number; readonly kind: 'error'; readonly message: string }
  /** The number of pulls of a stream that have ended well. */
  | { readonly id: number; readonly kind: 'pulled'; readonly count: number };

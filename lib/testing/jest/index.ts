/**
 * Matchers for jest. Importing this, in a test or in `setupFilesAfterEnv`, registers them with the global `expect`, and
 * types them for `@types/jest`. Who imports `expect` from `@jest/globals` or the package `expect`: see
 * `llm-datadist/testing/jest-globals`.
 *
 * @packageDocumentation
 */
import { writeBigintsInJSON } from '../../bigint-json';
import type { KvCache } from '../../cache';
import type { LLMDataDist } from '../../datadist';
import type { BlockList } from '../../transfer-options';
import { toBeLinkedTo } from './linked-to';
import type { ExpectedBytes } from './received-blocks';
import { toHaveReceivedBlocks } from './received-blocks';
import type { ExpectedStatus } from './reject-with-status';
import { toRejectWithStatus } from './reject-with-status';

export type { ExpectedBytes, ExpectedStatus };
export type { MatcherResult, MatcherState } from './matcher';

/** For `expect.extend(matchers)`, where `expect` is not the global one. */
export const matchers = { toRejectWithStatus, toBeLinkedTo, toHaveReceivedBlocks };

/** How the matchers are called. */
export interface LLMDataDistMatchers<R> {
  /**
   * That a promise, or the one that a function returns, rejects with an `LLMException` of this status. Await it.
   *
   * @param status the name, as `'LLM_TIMEOUT'`, or the number, also one that has no name
   * @throws TypeError, RangeError for what is no promise or no status
   */
  toRejectWithStatus(status: ExpectedStatus): Promise<void>;
  /**
   * That an `LLMDataDist` holds a link to a peer. The mock knows all its links; with other backends the links that a peer
   * has made are invisible, and only those count that the instance has made itself.
   *
   * @param peer an `LLMDataDist` or a cluster id
   */
  toBeLinkedTo(peer: LLMDataDist | bigint | number): R;
  /**
   * That blocks of a cache of this `LLMDataDist` hold certain bytes, in all tensors. Await it.
   *
   * @param cache a cache that this instance registered
   * @param expectedBytes the bytes of the blocks of all tensors, in order, or a function that gives those of one block
   * @throws TypeError, RangeError where the cache is not the instance's, it has no such block, or the lengths differ
   */
  toHaveReceivedBlocks(cache: KvCache, blocks: BlockList, expectedBytes: ExpectedBytes): Promise<void>;
}

declare global {
  namespace jest {
    // As @types/jest declares it, which is merged with this where it is installed.
    interface Matchers<R, T> extends LLMDataDistMatchers<R> {}
  }
}

/** The global `expect` of jest; none in a program that no test runner runs. */
const { expect } = globalThis as { expect?: { extend?: (more: typeof matchers) => void } };
expect?.extend?.(matchers);

writeBigintsInJSON();

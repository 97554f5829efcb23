import { RELEASED } from './released';
import { captureStack } from './stack';

/**
 * What a call rejects with when its signal is aborted: an error made for that call, as in Node's own APIs.
 */
export interface AbortError extends Error {
  readonly name: 'AbortError';
  readonly code: 'ABORT_ERR';
  /** The method that was called, such as `pullBlocks`. */
  readonly operation: string;
  /** `signal.reason`. */
  readonly cause: unknown;
  /** As {@link LLMException.released}; not enumerable. */
  readonly released: Promise<void>;
}

export function abortError(operation: string, reason: unknown, released: Promise<void>): AbortError {
  const rest = released === RELEASED ? '' : '; it goes on in the library until `released` of this error has settled';
  const error = new Error(`${operation} was aborted${rest}`, { cause: reason });
  Object.defineProperty(error, 'name', { value: 'AbortError', configurable: true, writable: true });
  Object.assign(error, { code: 'ABORT_ERR', operation });
  Object.defineProperty(error, 'released', { value: released, configurable: true, writable: true });
  captureStack(error, abortError);
  return error as AbortError;
}

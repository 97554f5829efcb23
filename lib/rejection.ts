import { asFailureOf, copyOf, LLMException } from './exception';
import { captureStack, moveStack } from './stack';
import type { CallSite } from './stack';

/** Exceptions that a test has made, to be rejected with as they are. */
const kept = new WeakSet<object>();

/** The stack of an error stays as it is, whatever it is rejected with. */
export function keepStackOf(error: object): void {
  kept.add(error);
}

/**
 * The exception that a call is rejected with, with a stack that has the caller's line.
 *
 * What is made in a callback of the addon, in a timer or for a call that has waited for others has a stack without the
 * caller. Control calls and copies take the stack when they are called: it is the one of the line that made the call,
 * however its promise is used. To take it at each transfer would take as long as a pull. But in an async function that the
 * caller awaits V8 knows the line that awaits: called there, after the failure, this costs nothing where a call succeeds.
 *
 * @param site where the call was made, when that was taken; without it, only after an `await` of the call: before that the
 *   exception's own stack has the caller
 */
export function atCaller(error: unknown, site?: CallSite): unknown {
  if (!(error instanceof LLMException) || kept.has(error) || !Object.isExtensible(error)) return error;
  if (site !== undefined) {
    moveStack(error, site);
    return error;
  }
  captureStack(error, atCaller);
  return error;
}

/** The exception that a call is rejected with, under the name of the method that was called and with its cache. */
export function failureOf(error: unknown, operation: string, cacheId?: bigint): unknown {
  if (!(error instanceof LLMException) || kept.has(error) || !Object.isExtensible(error)) return error;
  return asFailureOf(error, operation, cacheId);
}

/** What a push is rejected with, and how far it came; an error of a test stays as it is, and one that says it already. */
export function withLayersCompleted(error: unknown, layersCompleted: number | undefined): unknown {
  if (layersCompleted === undefined || typeof error !== 'object' || error === null) return error;
  if (kept.has(error) || !Object.isExtensible(error) || 'layersCompleted' in error) return error;
  if (!(error instanceof LLMException) && (error as { code?: unknown }).code !== 'ABORT_ERR') return error;
  return Object.assign(error, { layersCompleted });
}

/** As {@link atCaller}, for an exception that another call is rejected with: each has its own stack. */
export function alsoAtCaller(error: unknown, site: CallSite): unknown {
  if (!(error instanceof LLMException) || kept.has(error)) return error;
  return atCaller(copyOf(error), site);
}

import { types } from 'node:util';

/** Of a call that was rejected early and never got to the library. */
export const RELEASED = Promise.resolve();

/** What the error of a call carries that was rejected before it had ended. */
export function releasedOf(error: unknown): Promise<unknown> | undefined {
  const isObject = typeof error === 'object' && error !== null;
  return isObject && 'released' in error && types.isPromise(error.released) ? error.released : undefined;
}

import { getEventListeners } from 'node:events';
import { LLMException } from '../../lib';
import type { CallOptions } from '../../lib';
import type { Limits } from './steps';

/** What a call is given that may end it early. */
export interface EarlyEnd {
  readonly options: CallOptions | undefined;
  readonly limits: Limits | undefined;
  readonly controller: AbortController | undefined;
  readonly reason: unknown;
}

export function earlyEndOf(limits: Limits | undefined): EarlyEnd {
  if (limits === undefined) return { options: undefined, limits, controller: undefined, reason: undefined };
  const { timeout, abort } = limits;
  const controller = abort === undefined ? undefined : new AbortController();
  const reason = { abortedBy: 'the program' };
  if (abort?.kind === 'before') controller?.abort(reason);
  const options = {
    ...(timeout !== undefined && { timeout }),
    ...(controller !== undefined && { signal: controller.signal }),
  };
  return { options, limits, controller, reason };
}

/**
 * Aborts the call when its moment has come.
 * @param sleep lets so many milliseconds pass for this call
 */
export async function abortInTime({ limits, controller, reason }: EarlyEnd, sleep: (ms: number) => Promise<void>) {
  const { abort } = limits ?? {};
  if (controller === undefined || abort === undefined || abort.kind === 'before') return;
  if (abort.kind === 'time') await sleep(abort.count);
  else {
    for (let i = 0; i < abort.count; i++) {
      await (abort.kind === 'microtasks' ? Promise.resolve() : new Promise((resolve) => setImmediate(resolve)));
    }
  }
  controller.abort(reason);
}

/** What is wrong with what a call was rejected with; `undefined` where nothing is. */
export function problemOf(
  error: unknown,
  operation: string,
  { limits, controller, reason }: EarlyEnd,
): string | undefined {
  if (error instanceof LLMException) {
    if (error.operation !== operation) return `its exception says that ${error.operation} failed`;
    const isCallers = error.deadline === 'caller';
    if (isCallers && limits?.timeout === undefined) return 'it ended at a deadline that it was not given';
    return isCallers && !(error.released instanceof Promise)
      ? 'its exception does not say when it is released'
      : undefined;
  }
  const { name, code, cause, released } = error as Record<string, unknown>;
  if (name !== 'AbortError') return `it was rejected with ${String(error)}`;
  if (controller?.signal.aborted !== true) return 'it was rejected with an AbortError and not aborted';
  if (code !== 'ABORT_ERR' || cause !== reason) return 'its AbortError lacks the code or the reason';
  return released instanceof Promise ? undefined : 'its AbortError does not say when it is released';
}

/** When a rejected call does nothing any more: at once, unless it says otherwise. */
export function releaseOf(error: unknown): Promise<void> | undefined {
  const { released } = error as { readonly released?: Promise<void> };
  return released;
}

/** Listeners that a call that has settled left on its signal. */
export function listenersLeft({ controller }: EarlyEnd): number {
  return controller === undefined ? 0 : getEventListeners(controller.signal, 'abort').length;
}

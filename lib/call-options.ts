import { checkInteger, checkOptions, invalidArgType } from './check';
import type { Names } from './check';

/** What every asynchronous method takes in its last options. */
export interface CallOptions {
  /**
   * Ends the call: it rejects at once with an `AbortError` (see {@link AbortError}). A signal that is aborted already rejects the
   * call before anything has happened.
   */
  readonly signal?: AbortSignal;
  /**
   * Milliseconds from the call on, its time in queues included: 1 to 2147483647. When they have passed, the call rejects with
   * `LLM_TIMEOUT`, `deadline: 'caller'` and the recovery `retry`. Without it the library's own limits apply. They are real
   * milliseconds, also under jest's fake timers and on a test fabric with the `instant` or `real` clock. On a fabric with the
   * `manual` clock, or one that has `deadline`, they are milliseconds of that clock.
   *
   * Of `linkClusters` and `unlinkClusters` it is the library's own limit, without the time in queues and without
   * `deadline: 'caller'`. To bound a link or unlink, use `signal`.
   */
  readonly timeout?: number;
}

export const CALL_OPTIONS: Names<CallOptions> = { signal: true, timeout: true };

const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** What ends a call early. Made only for a call with such options: the others cost nothing. */
export interface CallLimits {
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number | undefined;
}

/** The limits in the options of a call; `undefined` where there are none. */
export function limitsOf(fields: Readonly<Record<string, unknown>>, name = 'options'): CallLimits | undefined {
  const { signal, timeout } = fields;
  if (signal === undefined && timeout === undefined) return undefined;
  return {
    signal: signal === undefined ? undefined : checkSignal(signal, `${name}.signal`),
    timeoutMs: timeout === undefined ? undefined : checkInteger(timeout, `${name}.timeout`, 1, MAX_TIMEOUT_MS),
  };
}

/** The limit of a call whose `timeout` is the library's own. */
export function signalOf(fields: Readonly<Record<string, unknown>>, name = 'options'): CallLimits | undefined {
  const { signal } = fields;
  return signal === undefined ? undefined : { signal: checkSignal(signal, `${name}.signal`), timeoutMs: undefined };
}

/** The limits of a method that has a separate argument for them. */
export function checkCallOptions(value: unknown, name = 'call'): CallLimits | undefined {
  return value === undefined ? undefined : limitsOf(checkOptions(value, name, CALL_OPTIONS), name);
}

/** As Node checks it: a signal may come from another realm, or be a polyfill's. */
function checkSignal(value: unknown, name: string): AbortSignal {
  if (typeof value === 'object' && value !== null) {
    const { aborted, addEventListener, removeEventListener } = value as Partial<AbortSignal>;
    const listens = typeof addEventListener === 'function' && typeof removeEventListener === 'function';
    if (typeof aborted === 'boolean' && listens) return value as AbortSignal;
  }
  throw invalidArgType(name, 'an AbortSignal', value);
}

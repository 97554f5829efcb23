import { inspect } from 'node:util';

/** The calls that one signal ends, behind one listener: ten thousand calls on a signal are no leak of listeners. */
interface Listening {
  readonly calls: Set<() => void>;
  readonly listener: () => void;
}

const signals = new WeakMap<AbortSignal, Listening>();

/**
 * What a signal answers. One that is not Node's may throw instead: then the call goes on and settles without it.
 * @param otherwise the answer of a signal that throws
 */
function asked<T>(ask: () => T, otherwise: T): T {
  try {
    return ask();
  } catch (error) {
    const text = inspect(error, { depth: 0, customInspect: false });
    process.emitWarning(`a signal cannot end its call, because it has thrown ${text}`, 'LLMDataDistSignalWarning');
    return otherwise;
  }
}

/** Whether it is aborted. */
export function isAborted(signal: AbortSignal): boolean {
  return asked(() => signal.aborted, false);
}

/** What it was aborted with. */
export function reasonOf(signal: AbortSignal | undefined): unknown {
  return signal === undefined ? undefined : asked(() => signal.reason as unknown, undefined);
}

/** Calls `end` once, when the signal is aborted. */
export function onAbort(signal: AbortSignal, end: () => void): void {
  (signals.get(signal) ?? listen(signal)).calls.add(end);
}

/** The call has ended. The listener goes with the last one. */
export function offAbort(signal: AbortSignal, end: () => void): void {
  const listening = signals.get(signal);
  if (listening === undefined) return;
  listening.calls.delete(end);
  if (listening.calls.size > 0) return;
  signals.delete(signal);
  asked(() => {
    signal.removeEventListener('abort', listening.listener);
  }, undefined);
}

function listen(signal: AbortSignal): Listening {
  const calls = new Set<() => void>();
  const listener = () => {
    signals.delete(signal);
    for (const end of [...calls]) end();
  };
  asked(() => {
    signal.addEventListener('abort', listener, { once: true });
  }, undefined);
  const listening = { calls, listener };
  signals.set(signal, listening);
  return listening;
}

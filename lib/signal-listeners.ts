/** The calls that one signal ends, behind one listener: ten thousand calls on a signal are no leak of listeners. */
interface Listening {
  readonly calls: Set<() => void>;
  readonly listener: () => void;
}

const signals = new WeakMap<AbortSignal, Listening>();

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
  signal.removeEventListener('abort', listening.listener);
}

function listen(signal: AbortSignal): Listening {
  const calls = new Set<() => void>();
  const listener = () => {
    signals.delete(signal);
    for (const end of [...calls]) end();
  };
  signal.addEventListener('abort', listener, { once: true });
  const listening = { calls, listener };
  signals.set(signal, listening);
  return listening;
}

/** What the listener carries, so that every copy of this package finds it: a process has one, whatever is loaded again. */
const ADDONS = Symbol.for('llm-datadist.closeAtExit');

interface Closing {
  close(limitMs: number): void;
}

interface ExitListener {
  (): void;
  readonly [ADDONS]: Map<Closing, number>;
}

/**
 * Closes an addon when the process exits, within the given milliseconds: where it exits by itself no clean-up hook
 * of the main thread runs.
 */
export function closeAtExit(addon: Closing, limitMs: number): void {
  const known = process.listeners('exit').find((listener) => ADDONS in listener) as ExitListener | undefined;
  (known ?? listen())[ADDONS].set(addon, limitMs);
}

function listen(): ExitListener {
  const addons = new Map<Closing, number>();
  const listener = Object.assign(
    () => {
      for (const [addon, limitMs] of addons) addon.close(limitMs);
    },
    { [ADDONS]: addons },
  );
  process.on('exit', listener);
  return listener;
}

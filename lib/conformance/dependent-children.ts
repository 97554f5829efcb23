import type { ChildProcess } from 'node:child_process';

/** What ends a process from outside, unless it is prepared for it. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const children = new Set<ChildProcess>();

/**
 * Ends a child by force when this process ends, however that comes about, except by SIGKILL: that a child has to notice
 * by its channel.
 */
export function endWithThisProcess(child: ChildProcess): void {
  if (children.size === 0) watch();
  children.add(child);
  child.once('exit', () => {
    children.delete(child);
    if (children.size === 0) unwatch();
  });
}

function watch(): void {
  process.on('exit', killAll);
  for (const signal of SIGNALS) process.on(signal, endBy);
}

function unwatch(): void {
  process.off('exit', killAll);
  for (const signal of SIGNALS) process.off(signal, endBy);
}

function killAll(): void {
  for (const child of children) child.kill('SIGKILL');
}

/** A signal with a listener ends nothing, so it is sent once more without ours; others that listen have the last word. */
function endBy(signal: NodeJS.Signals): void {
  killAll();
  children.clear();
  unwatch();
  if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
}

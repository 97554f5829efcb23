import { LLMBackendError, LLMException } from '../exception';
import type { LoadAttempt } from '../exception';
import type { Backend } from './backend';
import type { LoadedAddon } from './native/addon';
import { loadAddon } from './native/addon';
import { openLibrary } from './native/library';
import { NativeBackend } from './native/native-backend';

export { probeNative } from './native/probe';
export type { NativeProbe } from './native/probe';

export interface NativeOptions {
  /** Allow a second live instance in this process. */
  readonly allowMultipleInstances: boolean;
  /** Keep away from the library what it does not survive, default true; off for comparisons with recordings of it. */
  readonly guards?: boolean;
  /** How many threads at most wait in calls of the library for this instance. */
  readonly threads?: number;
}

/** Pulls over different links run at the same time in the library, which waits in them rather than computes. */
export const DEFAULT_THREADS = 64;

/** @throws LLMBackendError with every place that was tried */
export function createNativeBackend(clusterId: bigint, role: number, options: NativeOptions): Backend {
  const ready = openNative();
  if ('attempts' in ready) throw new LLMBackendError(ready.attempts);
  return ready.create(clusterId, role, options);
}

/** Makes native backends in this process, once the library is open; the attempts otherwise. */
export function openNative(): { create: typeof createNativeBackend } | { attempts: readonly LoadAttempt[] } {
  const { loaded, attempts } = loadAddon();
  if (loaded === undefined) return { attempts };
  const opened = openLibrary(loaded);
  if (opened.library === undefined) return { attempts: [...attempts, ...opened.attempts] };
  return { create: (...args) => create(loaded, ...args) };
}

function create({ addon }: LoadedAddon, clusterId: bigint, role: number, options: NativeOptions): Backend {
  const { allowMultipleInstances, guards = true, threads = DEFAULT_THREADS } = options;
  return new NativeBackend(new addon.DataDist(clusterId, role, allowMultipleInstances, !guards, threads, LLMException));
}

import { LLMException } from '../exception';
import type { Backend } from './backend';
import { checkEnvironment } from './environment';
import type { LoadedAddon } from './native/addon';
import { loadAddon } from './native/addon';
import { openLibrary } from './native/library';
import { addonFailure, backendError, libraryFailure } from './native/load-failure';
import type { LoadFailure } from './native/load-failure';
import { NativeBackend } from './native/native-backend';
import { PendingCalls } from './native/pending-calls';

export type { AscendSign } from './native/ascend-signs';
export { probeNative } from './native/probe';
export type { NativeProbe, ProbeOptions } from './native/probe';

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

/** @throws LLMBackendError with every place that was tried; TypeError, RangeError for a wrong variable of the environment */
export function createNativeBackend(clusterId: bigint, role: number, options: NativeOptions): Backend {
  const ready = openNative();
  if ('failure' in ready) throw backendError(ready.failure);
  return ready.create(clusterId, role, options);
}

/**
 * Makes native backends in this process, once the library is open; why not, otherwise.
 * @throws TypeError, RangeError for a wrong variable of the environment
 */
export function openNative(): { create: typeof createNativeBackend } | { failure: LoadFailure } {
  checkEnvironment();
  const { loaded, attempts } = loadAddon();
  if (loaded === undefined) return { failure: addonFailure(attempts) };
  const opened = openLibrary(loaded);
  if (opened.library === undefined) return { failure: libraryFailure([...attempts, ...opened.attempts]) };
  return { create: (...args) => create(loaded, ...args) };
}

function create({ addon }: LoadedAddon, clusterId: bigint, role: number, options: NativeOptions): Backend {
  const { allowMultipleInstances, guards = true, threads = DEFAULT_THREADS } = options;
  const calls = new PendingCalls();
  const { settle } = calls;
  const isLax = !guards;
  const dist = new addon.DataDist(clusterId, role, allowMultipleInstances, isLax, threads, LLMException, settle);
  return new NativeBackend(dist, calls);
}

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { LLMBackendError } from '../exception';
import type { Backend } from './backend';

/** One place that was tried, and why it would not do. */
export interface BackendAttempt {
  readonly path: string;
  readonly error: string;
}

/** What `probeNative` found. */
export interface NativeProbe {
  /** Whether `backend: 'native'` would work in this process. */
  readonly available: boolean;
  /** The addon that was loaded. */
  readonly addonPath?: string;
  /** Its version, which should be this package's. */
  readonly addonVersion?: string;
  /** Every place that was tried in vain, in order, with the loader's own words. */
  readonly attempts: readonly BackendAttempt[];
}

/** What the addon exports. */
interface Addon {
  readonly version: string;
  /** Absent from an addon that was built without the vendor bridge. */
  readonly createBackend?: (
    clusterId: bigint,
    role: number,
    options: { readonly allowMultipleInstances: boolean },
  ) => Backend;
}

interface LoadedAddon {
  readonly path: string;
  readonly addon: Addon;
}

/** An addon can be loaded in no other way, whatever this file is compiled to. */
const load = createRequire(__filename);

const PACKAGE_ROOT = join(__dirname, '..', '..');

/** Where builds put the addon: the CMake one, the node-gyp one, and what a package brings along. */
const ADDON_PATHS = [
  join(PACKAGE_ROOT, 'build', 'Release', 'llm_datadist.node'),
  join(PACKAGE_ROOT, 'prebuilds', `${process.platform}-${process.arch}`, 'llm_datadist.node'),
];

/**
 * Whether the native backend can be loaded, and if not, why not. Nothing of the vendor's is loaded by asking.
 */
export function probeNative(): NativeProbe {
  const { loaded, attempts } = loadAddon();
  if (loaded === undefined) return { available: false, attempts };
  const { path, addon } = loaded;
  const found = { addonPath: path, addonVersion: addon.version };
  if (addon.createBackend !== undefined) return { available: true, attempts, ...found };
  const error = `addon ${addon.version} loads, but was built without the bridge to the vendor library`;
  return { available: false, attempts: [...attempts, { path, error }], ...found };
}

/** @throws LLMBackendError with every place that was tried */
export function createNativeBackend(
  clusterId: bigint,
  role: number,
  options: { readonly allowMultipleInstances: boolean },
): Backend {
  const { loaded } = loadAddon();
  if (loaded?.addon.createBackend === undefined) throw new LLMBackendError(probeNative().attempts);
  return loaded.addon.createBackend(clusterId, role, options);
}

function loadAddon(): { loaded?: LoadedAddon; attempts: BackendAttempt[] } {
  const attempts: BackendAttempt[] = [];
  for (const path of ADDON_PATHS) {
    if (!existsSync(path)) {
      attempts.push({ path, error: 'no such file: the addon was not built (npm run build:native)' });
      continue;
    }
    try {
      return { loaded: { path, addon: load(path) as Addon }, attempts };
    } catch (error) {
      attempts.push({ path, error: error instanceof Error ? error.message : String(error) });
    }
  }
  return { attempts };
}

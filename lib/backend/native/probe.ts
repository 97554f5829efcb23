import { spawnSync } from 'node:child_process';
import type { LoadAttempt } from '../../exception';
import type { OpenedLibrary, VendorLibrary } from './addon';
import { loadAddon } from './addon';
import { explained, librarySearch } from './library';

/** What `probeNative` found. */
export interface NativeProbe extends Partial<VendorLibrary> {
  /** Whether `backend: 'native'` would work in this process. */
  readonly available: boolean;
  /** The addon that was loaded. */
  readonly addonPath?: string;
  /** Its version, which is this package's. */
  readonly addonVersion?: string;
  /** Every place that was tried in vain, in order, with the loader's own words. */
  readonly attempts: readonly LoadAttempt[];
}

/** Opening a library runs its code, which must not hold up the caller for ever. */
const LIMIT_MS = 30_000;

/** In a process of its own: prints what the addon says on a pipe that the vendor's logs do not go to. */
const PROGRAM = `
  const [addon, search, bridge] = process.argv.slice(1);
  const { libraries, runtimes } = JSON.parse(search);
  const opened = require(addon).openLibrary(libraries, runtimes, bridge);
  require('node:fs').writeSync(3, JSON.stringify(opened));
`;

/**
 * Whether the native backend can be loaded, with the library's paths and versions and the name of the SoC, and if not,
 * why not. Nothing of the vendor's is loaded into this process by asking: another one tries.
 */
export function probeNative(): NativeProbe {
  const { loaded, attempts } = loadAddon();
  if (loaded === undefined) return { available: false, attempts };
  const { addon, path, bridge } = loaded;
  const search = librarySearch();
  const opened = openElsewhere([path, JSON.stringify(search), bridge]);
  return {
    available: opened.library !== undefined,
    addonPath: path,
    addonVersion: addon.version,
    ...opened.library,
    attempts: [...attempts, ...search.attempts, ...explained(opened.attempts)],
  };
}

function openElsewhere(args: readonly string[]): OpenedLibrary {
  const { error, signal, status, output } = spawnSync(process.execPath, ['-e', PROGRAM, ...args], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    // Flags of this process, such as a debugger's port, are not meant for the other one.
    env: { ...process.env, NODE_OPTIONS: '' },
    timeout: LIMIT_MS,
    encoding: 'utf8',
  });
  const [, , stderr = '', answer = ''] = output as readonly (string | null | undefined)[];
  if (answer !== '' && answer !== null) return JSON.parse(answer) as OpenedLibrary;
  const how = error?.message ?? (signal === null ? `exit code ${status}` : `signal ${signal}`);
  const [path = ''] = args;
  return {
    attempts: [{ path, error: `the process that tried to open the library ended with ${how}. ${stderr ?? ''}` }],
  };
}

import type { LoadAttempt } from '../../backend-error';
import { checkInteger, checkOptions } from '../../check';
import type { Names } from '../../check';
import { checkEnvironment } from '../environment';
import type { VendorLibrary } from './addon';
import { loadAddon } from './addon';
import { ascendSigns } from './ascend-signs';
import type { AscendSign } from './ascend-signs';
import { distinct, librarySearch } from './library';
import type { LibrarySearch } from './library';
import { addonFailure, libraryFailure } from './load-failure';
import { openElsewhere, otherProcessProblem } from './probe-process';

/** How `probeNative` asks. */
export interface ProbeOptions {
  /**
   * How many milliseconds the process that opens the library may take before it is killed: 1 to 2147483647, default 30000.
   */
  readonly limitMs?: number;
}

/** What `probeNative` found. */
export interface NativeProbe extends Partial<VendorLibrary> {
  /** Whether `backend: 'native'` would work in this process. */
  readonly available: boolean;
  /**
   * Why it would not, or why nothing could be found out; absent where it would. It names the platform, the C library or
   * the version of Node where they are not supported.
   */
  readonly reason?: string;
  /** How many milliseconds the other process was given, see {@link ProbeOptions.limitMs}. */
  readonly limitMs: number;
  /** The addon that was loaded. */
  readonly addonPath?: string;
  /** Its version, which is this package's. */
  readonly addonVersion?: string;
  /** Every place that was tried in vain, with what is wrong with the file or the loader's own words. */
  readonly attempts: readonly LoadAttempt[];
  /** Variables of the environment that are set, and what they excluded; empty where the library can be opened. */
  readonly notes: readonly string[];
  /** Signs that this is an Ascend host. With them `backend: 'auto'` does not fall back to the mock. */
  readonly signs: readonly AscendSign[];
}

/** Opening a library runs its code, which must not hold up the caller for ever. */
const DEFAULT_LIMIT_MS = 30_000;
const MAX_LIMIT_MS = 0x7fff_ffff;

/**
 * Whether the native backend can be loaded, with the library's paths and versions and the name of the SoC, and if not,
 * why not. Nothing of the vendor's is loaded into this process by asking: another one tries, and is killed when it takes
 * longer than the limit.
 *
 * There always is a report, also where no other process can be started (no descriptors or memory left, Node's permission
 * model, a single-executable application): `available` is false then, and `reason` says what stood in the way.
 *
 * @throws TypeError, RangeError for options that make no sense, and for nothing else
 */
export function probeNative(options?: ProbeOptions): NativeProbe {
  const { limitMs = DEFAULT_LIMIT_MS } = checkOptions(options, 'options', {
    limitMs: true,
  } satisfies Names<ProbeOptions>);
  const limit = checkInteger(limitMs, 'options.limitMs', 1, MAX_LIMIT_MS);
  const common = { available: false, limitMs: limit, attempts: [], notes: [], signs: ascendSigns() };
  try {
    checkEnvironment();
  } catch (error) {
    return { ...common, reason: (error as Error).message };
  }
  const { loaded, attempts } = loadAddon();
  if (loaded === undefined) {
    const { reason, notes } = addonFailure(attempts);
    return { ...common, reason, attempts, notes };
  }
  const { addon, path, bridge } = loaded;
  const report = { ...common, addonPath: path, addonVersion: addon.version };
  const search = librarySearch(bridge);
  const found = [...attempts, ...search.attempts];
  const { notes, reason } = libraryFailure(found);
  if (search.libraries.length === 0) return { ...report, reason, attempts: found, notes };
  return { ...report, ...askOtherProcess(path, bridge, search, found, { limitMs: limit, reason, notes }) };
}

interface Question {
  readonly limitMs: number;
  /** What to say where the other process found no library. */
  readonly reason: string;
  readonly notes: readonly string[];
}

function askOtherProcess(
  addonPath: string,
  bridge: string,
  search: LibrarySearch,
  before: readonly LoadAttempt[],
  { limitMs, reason, notes }: Question,
): Pick<NativeProbe, 'available' | 'reason' | 'attempts' | 'notes'> & Partial<VendorLibrary> {
  const problem = otherProcessProblem();
  if (problem !== undefined) return { available: false, reason: problem, attempts: before, notes };
  const answer = openElsewhere(addonPath, search, bridge, limitMs);
  if ('problem' in answer) {
    const attempts = [...before, { path: addonPath, error: answer.problem }];
    return { available: false, reason: answer.problem, attempts, notes };
  }
  const attempts = distinct([...before, ...answer.attempts]);
  if (answer.library === undefined) return { available: false, reason, attempts, notes };
  return { available: true, ...answer.library, attempts, notes: [] };
}

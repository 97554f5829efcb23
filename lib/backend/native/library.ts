import { join } from 'node:path';
import type { LoadAttempt } from '../../backend-error';
import type { LoadedAddon, OpenedLibrary } from './addon';
import { fileProblem } from './binary-file';
import { isPath, libraryPlaces, searchFolders } from './places';
import type { Environment } from '../environment';

/** What `openLibrary` of the addon is called with. */
export interface LibrarySearch {
  readonly libraries: readonly string[];
  readonly runtimes: readonly (readonly string[])[];
  /** Files that the loader is not asked for, and why. */
  readonly attempts: readonly LoadAttempt[];
}

/**
 * The search of this environment. Files that cannot be loaded are reported and not tried: the loader may wait for ever at
 * them, or end the process.
 */
export function librarySearch(bridge: string, env: Environment = process.env): LibrarySearch {
  const unusableBridge = fileProblem(bridge);
  if (unusableBridge !== undefined) {
    return { libraries: [], runtimes: [], attempts: [{ path: bridge, error: unusableBridge.text }] };
  }
  const folders = searchFolders(env);
  const found = libraryPlaces(env).map(({ library, runtimes }) => ({
    library,
    own: examined(library, folders),
    runtimes: runtimes.map((path) => ({ path, ...examined(path, folders) })),
  }));
  const loadable = found.filter(({ own }) => own.isLoadable);
  return {
    libraries: loadable.map(({ library }) => library),
    runtimes: loadable.map(({ runtimes }) => runtimes.filter(({ isLoadable }) => isLoadable).map(({ path }) => path)),
    attempts: distinct([
      ...found.flatMap(({ own }) => own.attempts),
      // A library brings one of several runtimes: only what is there and will not do is worth a word.
      ...loadable.flatMap(({ runtimes }) => runtimes.flatMap(({ attempts, isMissing }) => (isMissing ? [] : attempts))),
    ]),
  };
}

interface Examined {
  /** Whether the loader may be asked for it. */
  readonly isLoadable: boolean;
  readonly isMissing: boolean;
  readonly attempts: readonly LoadAttempt[];
}

function examined(file: string, folders: readonly string[]): Examined {
  if (!isPath(file)) return examinedName(file, folders);
  const problem = fileProblem(file);
  return {
    isLoadable: problem === undefined,
    isMissing: problem?.kind === 'missing',
    attempts: problem === undefined ? [] : [{ path: file, error: problem.text }],
  };
}

/** What the loader would come to when it looks for a name. Where it finds nothing in these folders it has others. */
function examinedName(name: string, folders: readonly string[]): Examined {
  const attempts: LoadAttempt[] = [];
  for (const folder of folders) {
    const path = join(folder, name);
    const problem = fileProblem(path);
    if (problem === undefined) break;
    if (problem.kind !== 'missing') attempts.push({ path, error: problem.text });
    if (problem.kind === 'unusable') return { isLoadable: false, isMissing: false, attempts };
  }
  return { isLoadable: true, isMissing: false, attempts };
}

/** Opens the vendor's library in this process. */
export function openLibrary({ addon, bridge }: LoadedAddon): OpenedLibrary {
  const { libraries, runtimes, attempts } = librarySearch(bridge);
  const opened = addon.openLibrary(libraries, runtimes, bridge);
  return { ...opened, attempts: distinct([...attempts, ...opened.attempts]) };
}

/** Each once: a runtime is tried for each library that needs it. */
export function distinct(attempts: readonly LoadAttempt[]): LoadAttempt[] {
  return [...new Map(attempts.map((attempt) => [`${attempt.path}\n${attempt.error}`, attempt])).values()];
}

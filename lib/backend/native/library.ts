import { existsSync, statSync } from 'node:fs';
import type { LoadAttempt } from '../../exception';
import type { LoadedAddon, OpenedLibrary } from './addon';
import { wrongBinary } from './elf';
import type { LibraryPlace } from './places';
import { libraryPlaces } from './places';

/** What `openLibrary` of the addon is called with. */
export interface LibrarySearch {
  readonly libraries: readonly string[];
  readonly runtimes: readonly (readonly string[])[];
  /** Places that need not be tried. */
  readonly attempts: readonly LoadAttempt[];
}

/** The search of this environment: files that are not there are told, and not tried. */
export function librarySearch(env: NodeJS.ProcessEnv = process.env): LibrarySearch {
  const places = libraryPlaces(env);
  const there = places.filter(({ library }) => !isPath(library) || existsSync(library));
  const missing = places.filter((place) => !there.includes(place));
  return {
    libraries: there.map(({ library }) => library),
    runtimes: there.map(runtimesThere),
    attempts: missing.map(({ library }) => ({ path: library, error: 'no such file' })),
  };
}

function runtimesThere({ runtimes }: LibraryPlace): string[] {
  return runtimes.filter((path) => !isPath(path) || existsSync(path));
}

/** Opens the vendor's library in this process. */
export function openLibrary({ addon, bridge }: LoadedAddon): OpenedLibrary {
  const { libraries, runtimes, attempts } = librarySearch();
  const opened = addon.openLibrary(libraries, runtimes, bridge);
  return { ...opened, attempts: [...attempts, ...explained(opened.attempts)] };
}

/** The loader's words, each once, and where it misleads what the file says itself. */
export function explained(attempts: readonly LoadAttempt[]): LoadAttempt[] {
  const byText = new Map(attempts.map((attempt) => [`${attempt.path}\n${attempt.error}`, attempt]));
  return Array.from(byText.values(), ({ path, error }) => {
    const wrong = isPath(path) && isFile(path) ? wrongBinary(path) : undefined;
    return { path, error: wrong === undefined ? error : `${error} (${wrong})` };
  });
}

function isPath(name: string): boolean {
  return name.includes('/');
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

import { dirname, isAbsolute, join, resolve } from 'node:path';
import { variable } from '../environment';
import type { Environment } from '../environment';

/** A file that may be the vendor's library, and files that may be the Ascend runtime, which is loaded before it. */
export interface LibraryPlace {
  /** An absolute path, or a name that is left to the loader's own search path. */
  readonly library: string;
  readonly runtimes: readonly string[];
}

/** The present name first. Both export one class, so only one of them may be in a process. */
const LIBRARIES = ['libllm_datadist.so', 'libllm_engine.so'];
const RUNTIMES = ['libascendcl.so', 'libacl_rt.so'];

/** Where the vendor's installers put a toolkit. */
export const DEFAULT_FOLDERS = ['/usr/local/Ascend/cann/lib64', '/usr/local/Ascend/ascend-toolkit/latest/lib64'];

/**
 * Where the library is looked for, in this order: what `LLM_DATADIST_LIBRARY` names, and nowhere else then; the `lib64` of
 * `ASCEND_HOME_PATH`; the vendor's default folders; the loader's own search path.
 */
export function libraryPlaces(env: Environment): LibraryPlace[] {
  const chosen = chosenLibrary(env);
  const home = homeFolder(env);
  const folders = [...(home === undefined ? [] : [home]), ...DEFAULT_FOLDERS];
  if (chosen !== undefined) {
    const own = isPath(chosen) ? [dirname(chosen)] : [];
    return [{ library: chosen, runtimes: [...filesOf([...own, ...folders], RUNTIMES), ...RUNTIMES] }];
  }
  return [
    ...folders.flatMap((folder) =>
      filesOf([folder], LIBRARIES).map((library) => ({
        library,
        runtimes: [...filesOf([folder], RUNTIMES), ...RUNTIMES],
      })),
    ),
    ...LIBRARIES.map((library) => ({ library, runtimes: RUNTIMES })),
  ];
}

/**
 * What `LLM_DATADIST_LIBRARY` names: a path, relative ones to the working directory; without a slash it is a name for the
 * loader's own search path, as the loader has it.
 */
export function chosenLibrary(env: Environment): string | undefined {
  const chosen = variable('LLM_DATADIST_LIBRARY', env);
  return chosen === undefined || !isPath(chosen) ? chosen : absolutePath(chosen);
}

/** The folder of libraries of the toolkit that `ASCEND_HOME_PATH` names. */
export function homeFolder({ ASCEND_HOME_PATH: home = '' }: Environment): string | undefined {
  return home === '' ? undefined : join(absolutePath(home), 'lib64');
}

/** The folders in which the loader looks for names before it looks in those of the system. */
export function searchFolders({ LD_LIBRARY_PATH: path = '' }: Environment): string[] {
  // An empty entry is the working directory, an empty list is none.
  return path === '' ? [] : path.split(/[:;]/).map((folder) => (folder === '' ? '.' : folder));
}

/** The path from the root; as it is where the working directory is gone, since nothing is there then. */
export function absolutePath(path: string): string {
  if (isAbsolute(path)) return path;
  try {
    return resolve(path);
  } catch {
    return path;
  }
}

/** Whether it is a path, and not a name for the loader's search path. */
export function isPath(name: string): boolean {
  return name.includes('/');
}

function filesOf(folders: readonly string[], names: readonly string[]): string[] {
  return folders.flatMap((folder) => names.map((name) => join(folder, name)));
}

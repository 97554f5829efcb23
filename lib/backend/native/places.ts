import { dirname, isAbsolute, join } from 'node:path';

/** A file that may be the vendor's library, and files that may be the Ascend runtime, which is loaded before it. */
export interface LibraryPlace {
  /** A path, or a name that is left to the loader's own search path. */
  readonly library: string;
  readonly runtimes: readonly string[];
}

/** The present name first. Both export one class, so only one of them may be in a process. */
const LIBRARIES = ['libllm_datadist.so', 'libllm_engine.so'];
const RUNTIMES = ['libascendcl.so', 'libacl_rt.so'];

/** Where the vendor's installers put a toolkit. */
const DEFAULT_DIRECTORIES = ['/usr/local/Ascend/cann/lib64', '/usr/local/Ascend/ascend-toolkit/latest/lib64'];

/**
 * Where the library is looked for, in this order: what `LLM_DATADIST_LIBRARY` names, and nowhere else then; the `lib64` of
 * `ASCEND_HOME_PATH`; the vendor's default directories; the loader's own search path.
 */
export function libraryPlaces(env: NodeJS.ProcessEnv): LibraryPlace[] {
  const { LLM_DATADIST_LIBRARY: chosen = '', ASCEND_HOME_PATH: home = '' } = env;
  const directories = [...(home === '' ? [] : [join(home, 'lib64')]), ...DEFAULT_DIRECTORIES];
  if (chosen !== '') {
    const own = isAbsolute(chosen) || chosen.includes('/') ? [dirname(chosen)] : [];
    return [{ library: chosen, runtimes: [...filesOf([...own, ...directories], RUNTIMES), ...RUNTIMES] }];
  }
  return [
    ...directories.flatMap((directory) =>
      filesOf([directory], LIBRARIES).map((library) => ({
        library,
        runtimes: [...filesOf([directory], RUNTIMES), ...RUNTIMES],
      })),
    ),
    ...LIBRARIES.map((library) => ({ library, runtimes: RUNTIMES })),
  ];
}

function filesOf(directories: readonly string[], names: readonly string[]): string[] {
  return directories.flatMap((directory) => names.map((name) => join(directory, name)));
}

import { copyFileSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { LoadAttempt } from '../../lib/exception';
import type { NativeProbe } from '../../lib';
import { built } from './fixtures/built';
import { runChild } from './fixtures/child';
import { compileLibrary, temporaryFolder } from './fixtures/compiler';
import { buildVariant } from './standin/build';

/** What became of one step of children/load.js. */
interface Step {
  readonly step: string;
  readonly value?: unknown;
  readonly error?: {
    readonly name: string;
    readonly code: string;
    readonly message: string;
    readonly attempts: readonly LoadAttempt[];
  };
  /** The vendor's files in the process afterwards, and the bridge. */
  readonly files: readonly string[];
}

interface Loading {
  readonly steps: readonly Step[];
  readonly warnings: readonly { readonly name: string; readonly message: string }[];
}

/** The steps in a process that has nothing in its environment but `env`. */
async function load(steps: readonly string[], env: Readonly<Record<string, string>>): Promise<Loading> {
  const nothing = { LLM_DATADIST_LIBRARY: '', ASCEND_HOME_PATH: '', LLM_DATADIST_BACKEND: '', LD_LIBRARY_PATH: '' };
  const child = await runChild('load.js', steps, { env: { ...nothing, ...env }, journal: false });
  expect(child).toMatchObject({ code: 0, signal: null });
  const { done, warnings } = JSON.parse(child.stdout) as { done: Step[]; warnings: Loading['warnings'] };
  return { steps: done, warnings };
}

/** The attempts of a native backend that cannot be had. */
async function refusedAttempts(env: Readonly<Record<string, string>>): Promise<readonly LoadAttempt[]> {
  const { steps } = await load(['require', 'native', 'probe'], env);
  const { error } = steps[1]!;
  expect(error).toMatchObject({ name: 'LLMBackendError', code: 'ERR_LLM_BACKEND_UNAVAILABLE' });
  const { attempts, message } = error!;
  // Each place with the loader's words, and what to do.
  for (const attempt of attempts) {
    expect(message).toContain(attempt.path);
    expect(message).toContain(attempt.error);
  }
  for (const advice of ['set_env.sh', 'ASCEND_HOME_PATH', 'LLM_DATADIST_LIBRARY', "backend: 'mock'"]) {
    expect(message).toContain(advice);
  }
  // The other process finds the same.
  expect(steps[2]!.value).toMatchObject({ available: false, attempts });
  return attempts;
}

/** The attempt for the file with this name. */
function attemptOf(attempts: readonly LoadAttempt[], file: string): LoadAttempt {
  const found = attempts.filter(({ path }) => path === file);
  expect(found).toHaveLength(1);
  return found[0]!;
}

const variant = (name: Parameters<typeof buildVariant>[0]) => {
  const { home, libraryFolder } = buildVariant(name);
  return {
    home,
    datadist: join(libraryFolder, 'libllm_datadist.so'),
    engine: join(libraryFolder, 'libllm_engine.so'),
    runtime: join(libraryFolder, 'libascendcl.so'),
  };
};

const bridge = join(dirname(built().addon), 'llm_datadist_bridge.so');

describe('the library', () => {
  test.each([
    ['no-initialize', /undefined symbol: _ZN12llm_datadist11LlmDataDist10Initialize/],
    ['no-memcpy', /undefined symbol: aclrtMemcpy/],
  ] as const)('that lacks what it must have is refused by the bridge: %s', async (name, words) => {
    const { datadist } = variant(name);
    const attempts = await refusedAttempts({ LLM_DATADIST_LIBRARY: datadist });
    expect(attemptOf(attempts, bridge).error).toMatch(words);
  });

  test.each([
    ['no-elf', /^the file is no ELF binary$/],
    ['other-machine', /^the file is a binary for machine 2, this process runs on \w+$/],
  ] as const)('that is no library for this process is not tried: %s', async (name, words) => {
    const { datadist } = variant(name);
    const attempts = await refusedAttempts({ LLM_DATADIST_LIBRARY: datadist });
    expect(attemptOf(attempts, datadist).error).toMatch(words);
  });

  test('that is not there is told, and not looked for elsewhere', async () => {
    const library = join(temporaryFolder(), 'libllm_datadist.so');
    const env = { LLM_DATADIST_LIBRARY: library, ASCEND_HOME_PATH: dirname(dirname(built().library)) };
    expect(await refusedAttempts(env)).toEqual([{ path: library, error: 'no such file' }]);
  });

  test('that has no runtime is not tried', async () => {
    const { datadist, runtime } = variant('no-runtime');
    expect(existsSync(runtime)).toBe(false);
    const attempts = await refusedAttempts({ LLM_DATADIST_LIBRARY: datadist });
    for (const name of ['libascendcl.so', 'libacl_rt.so']) {
      expect(attemptOf(attempts, name).error).toContain(`${name}: cannot open shared object file`);
    }
    expect(attemptOf(attempts, datadist).error).toMatch(/^not tried: the Ascend runtime/);
    expect(attempts).toHaveLength(3);
  });
});

describe('the addon', () => {
  test('that is not there is told', async () => {
    const addon = join(temporaryFolder(), 'llm_datadist.node');
    const attempts = await refusedAttempts({ LLM_DATADIST_ADDON: addon, LLM_DATADIST_LIBRARY: built().library });
    expect(attempts).toEqual([{ path: addon, error: 'no such file' }]);
  });

  test('that is no addon is not tried', async () => {
    const addon = join(temporaryFolder(), 'llm_datadist.node');
    writeFileSync(addon, 'This is no addon. '.repeat(100));
    const attempts = await refusedAttempts({ LLM_DATADIST_ADDON: addon, LLM_DATADIST_LIBRARY: built().library });
    expect(attempts).toEqual([{ path: addon, error: 'the file is no ELF binary' }]);
  });

  test('of another version is not used', async () => {
    const addon = join(temporaryFolder(), 'llm_datadist.node');
    const { include_dir: headers } = jest.requireActual<{ include_dir: string }>('node-api-headers');
    compileLibrary(addon, ['libraries/other_addon.cc'], ['-isystem', headers]);
    const attempts = await refusedAttempts({ LLM_DATADIST_ADDON: addon, LLM_DATADIST_LIBRARY: built().library });
    expect(attempts).toEqual([
      { path: addon, error: expect.stringMatching(/version 99\.88\.77, the package \d.*build it anew/) as string },
    ]);
  });
});

describe('the bridge', () => {
  /** The addon with another bridge beside it, or none. */
  function addonWith(makeBridge: (path: string) => void): { addon: string; bridge: string } {
    const folder = temporaryFolder();
    const addon = join(folder, 'llm_datadist.node');
    copyFileSync(built().addon, addon);
    const path = join(folder, 'llm_datadist_bridge.so');
    makeBridge(path);
    return { addon, bridge: path };
  }

  test.each<[string, (path: string) => void, RegExp]>([
    ['that is not there', () => undefined, /^no such file$/],
    [
      'of another version',
      (path) => {
        compileLibrary(path, ['libraries/other_bridge.cc']);
      },
      /has version 4294967295 of the table, version \d+ is needed: it was not built together with the addon/,
    ],
    [
      'that is another library',
      (path) => {
        copyFileSync(built().runtime, path);
      },
      /undefined symbol: llm_datadist_bridge/,
    ],
  ])('%s is told, and nothing of the vendor stays in the process', async (_, makeBridge, words) => {
    const other = addonWith(makeBridge);
    const env = { LLM_DATADIST_ADDON: other.addon, LLM_DATADIST_LIBRARY: built().library };
    const attempts = await refusedAttempts(env);
    expect(attemptOf(attempts, other.bridge).error).toMatch(words);
    const { steps } = await load(['require', 'native'], env);
    expect(steps[1]!.files).toEqual([]);
  });
});

describe('places', () => {
  const home = dirname(dirname(built().library));
  const opened = (library: string, runtime: string) => [bridge, library, runtime].sort();

  /** A home with links to libraries. */
  function homeWith(files: Readonly<Record<string, string>>): string {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'lib64'));
    for (const [name, file] of Object.entries(files)) copyFileSync(file, join(folder, 'lib64', name));
    return folder;
  }

  async function filesOf(env: Readonly<Record<string, string>>): Promise<readonly string[]> {
    const { steps } = await load(['require', 'native'], env);
    expect(steps[1]).toMatchObject({ value: 'native' });
    return steps[1]!.files;
  }

  test('LLM_DATADIST_LIBRARY comes before ASCEND_HOME_PATH, with the runtime beside it', async () => {
    const { datadist, runtime } = variant('old-runtime');
    expect(await filesOf({ LLM_DATADIST_LIBRARY: datadist, ASCEND_HOME_PATH: home })).toEqual(
      opened(datadist, runtime),
    );
  });

  test('LLM_DATADIST_LIBRARY alone takes the runtime of ASCEND_HOME_PATH', async () => {
    const folder = temporaryFolder();
    const library = join(folder, 'libllm_datadist.so');
    compileLibrary(
      library,
      ['libraries/obliging.cc', 'standin/library/ascend_string.cc'],
      ['-D_GLIBCXX_USE_CXX11_ABI=0'],
    );
    expect(await filesOf({ LLM_DATADIST_LIBRARY: library, ASCEND_HOME_PATH: home })).toEqual(
      opened(library, built().runtime),
    );
  });

  test('ASCEND_HOME_PATH comes before the search path of the loader', async () => {
    const { datadist, runtime, home: other } = variant('old-runtime');
    expect(await filesOf({ ASCEND_HOME_PATH: other, LD_LIBRARY_PATH: join(home, 'lib64') })).toEqual(
      opened(datadist, runtime),
    );
  });

  test('the search path of the loader is the last', async () => {
    const { steps } = await load(['require', 'native', 'probe'], { LD_LIBRARY_PATH: join(home, 'lib64') });
    expect(steps[1]!.files).toEqual(opened(built().library, built().runtime));
    const probe = steps[2]!.value as NativeProbe;
    expect(probe).toMatchObject({ available: true, libraryPath: built().library, runtimePath: built().runtime });
    expect(probe.attempts.map(({ path }) => path)).toEqual(
      expect.arrayContaining(['/usr/local/Ascend/cann/lib64/libllm_datadist.so']),
    );
  });

  test('libllm_datadist.so comes before libllm_engine.so, and the latter is not opened then', async () => {
    const both = homeWith({
      'libllm_datadist.so': built().library,
      'libllm_engine.so': built().library,
      'libascendcl.so': built().runtime,
    });
    expect(await filesOf({ ASCEND_HOME_PATH: both })).toEqual(
      opened(join(both, 'lib64', 'libllm_datadist.so'), join(both, 'lib64', 'libascendcl.so')),
    );
  });

  test('libllm_engine.so takes the place of a libllm_datadist.so that will not do, and the latter is gone then', async () => {
    const { engine, runtime } = variant('older');
    const both = homeWith({
      'libllm_datadist.so': variant('no-initialize').datadist,
      'libllm_engine.so': engine,
      'libascendcl.so': runtime,
    });
    expect(await filesOf({ ASCEND_HOME_PATH: both })).toEqual(
      opened(join(both, 'lib64', 'libllm_engine.so'), join(both, 'lib64', 'libascendcl.so')),
    );
  });

  test('a library that will not do and cannot be unloaded is the last that is tried', async () => {
    const { engine, runtime } = variant('older');
    const both = homeWith({ 'libllm_engine.so': engine, 'libascendcl.so': runtime });
    const stays = join(both, 'lib64', 'libllm_datadist.so');
    compileLibrary(stays, ['libraries/nothing.cc'], ['-Wl,-z,nodelete']);
    const { steps } = await load(['require', 'native'], { ASCEND_HOME_PATH: both });
    expect(steps[1]!.error?.message).toMatch(/cannot be unloaded/);
    expect(steps[1]!.files.map((file) => basename(file))).not.toContain('libllm_engine.so');
  });

  test('libacl_rt.so takes the place of a libascendcl.so that is not there', async () => {
    const { home: other, datadist } = variant('acl-rt');
    expect(await filesOf({ ASCEND_HOME_PATH: other })).toEqual(opened(datadist, join(other, 'lib64', 'libacl_rt.so')));
  });

  test('a link to the library is as good as the library', async () => {
    const folder = temporaryFolder();
    const link = join(folder, 'libllm_datadist.so');
    symlinkSync(built().library, link);
    expect(await filesOf({ LLM_DATADIST_LIBRARY: link, ASCEND_HOME_PATH: home })).toEqual(
      opened(built().library, built().runtime),
    );
  });
});

describe('the order of loading', () => {
  test('the runtime comes first: a library that needs a symbol of it finds it', async () => {
    const folder = temporaryFolder();
    const library = join(folder, 'libllm_datadist.so');
    const sources = ['libraries/obliging.cc', 'libraries/needs_runtime.cc', 'standin/library/ascend_string.cc'];
    compileLibrary(library, sources, ['-D_GLIBCXX_USE_CXX11_ABI=0']);
    copyFileSync(built().runtime, join(folder, 'libascendcl.so'));
    const { steps } = await load(['require', 'native'], { LLM_DATADIST_LIBRARY: library });
    expect(steps[1]).toMatchObject({ value: 'native' });
  });

  test('neither require(), nor the mock, nor asking brings anything of the vendor into the process', async () => {
    const { steps, warnings } = await load(['require', 'mock', 'probe', 'native'], {
      LLM_DATADIST_LIBRARY: built().library,
    });
    expect(steps.map(({ value }) => value)).toEqual([
      true,
      'mock',
      expect.objectContaining({ available: true }) as object,
      'native',
    ]);
    expect(steps.map(({ files }) => files.length)).toEqual([0, 0, 0, 3]);
    expect(warnings).toEqual([]);
  });
});

describe('auto', () => {
  test('takes the library where it can be had, without a warning', async () => {
    const { steps, warnings } = await load(['require', 'auto', 'auto'], { LLM_DATADIST_LIBRARY: built().library });
    expect(steps.map(({ value }) => value)).toEqual([true, 'native', 'native']);
    expect(warnings).toEqual([]);
  });

  test('falls back to the mock with one warning that says why', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'libllm_datadist.so'), 'This is no library. '.repeat(100));
    const { steps, warnings } = await load(['require', 'auto', 'auto'], { LD_LIBRARY_PATH: folder });
    expect(steps.map(({ value }) => value)).toEqual([true, 'mock', 'mock']);
    expect(warnings).toEqual([
      { name: 'LLMDataDistMockWarning', message: expect.stringContaining(`${folder}/libllm_datadist.so: `) as string },
    ]);
    expect(warnings[0]!.message).toContain('the file is no ELF binary');
  });
});

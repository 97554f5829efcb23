import { chmodSync, chownSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { badFilesIn } from './fixtures/bad-files';
import { built } from './fixtures/built';
import { compileLibrary, temporaryFolder } from './fixtures/compiler';
import { loadEach } from './fixtures/load-each';
import type { Found } from './fixtures/load-each';

/** That the native backend is refused with this reason for the file, and the probe reports the same. */
function expectReason({ native, probe }: Found, path: string, words: RegExp): void {
  expect(native.error).toMatchObject({ name: 'LLMBackendError' });
  const { attempts, message } = native.error!;
  const reasons = attempts.filter((attempt) => attempt.path === path).map(({ error }) => error);
  expect(reasons).toEqual([expect.stringMatching(words)]);
  expect(message).toContain(`${path}: ${reasons[0]}`);
  expect(probe).toMatchObject({ available: false, attempts });
  expect(probe.reason).toMatch(/cannot be loaded/);
}

/** A copy of the addon and its bridge that any user may read. */
function readableAddon(): string {
  const folder = temporaryFolder();
  chmodSync(folder, 0o755);
  const addon = join(folder, 'llm_datadist.node');
  copyFileSync(built().addon, addon);
  copyFileSync(join(dirname(built().addon), 'llm_datadist_bridge.so'), join(folder, 'llm_datadist_bridge.so'));
  return addon;
}

describe('in the place of a file there is something that is none', () => {
  test('the library that is named: auto does not take the mock instead', async () => {
    const files = badFilesIn(temporaryFolder(), 'libllm_datadist.so', built().library);
    const found = await loadEach(files.map(({ path }) => ({ env: { LLM_DATADIST_LIBRARY: path } })));
    files.forEach(({ path, words }, i) => {
      expectReason(found[i]!, path, words);
      expect(found[i]!.auto.error?.message).toContain(`LLM_DATADIST_LIBRARY=${path} is set`);
    });
  });

  test('a library that the loader would find: auto takes the mock', async () => {
    const files = badFilesIn(temporaryFolder(), 'libllm_datadist.so', built().library);
    const found = await loadEach(files.map(({ path }) => ({ env: { LD_LIBRARY_PATH: dirname(path) } })));
    files.forEach(({ kind, path, words }, i) => {
      if (kind !== 'nothing') expectReason(found[i]!, path, words);
      expect(found[i]!.auto).toEqual({ backend: 'mock' });
    });
  });

  test('the library of the toolkit', async () => {
    const files = badFilesIn(temporaryFolder(), 'lib64', built().library);
    const found = await loadEach(files.map(({ path }) => ({ env: { ASCEND_HOME_PATH: dirname(path) } })));
    files.forEach(({ path }, i) => {
      const { attempts } = found[i]!.native.error!;
      expect(attempts.map((attempt) => attempt.path)).toContain(join(path, 'libllm_datadist.so'));
      expect(found[i]!.auto.error?.message).toContain('ASCEND_HOME_PATH');
    });
  });

  test('the runtime beside the library', async () => {
    const files = badFilesIn(temporaryFolder(), 'libascendcl.so', built().runtime);
    for (const { path } of files) copyFileSync(built().library, join(dirname(path), 'libllm_datadist.so'));
    const environments = files.map(({ path }) => ({
      LLM_DATADIST_LIBRARY: join(dirname(path), 'libllm_datadist.so'),
    }));
    const found = await loadEach(environments.map((env) => ({ env })));
    files.forEach(({ kind, path, words }, i) => {
      // Runtimes that are not there are no finding: the loader has other places for them.
      if (kind !== 'nothing') expectReason(found[i]!, path, words);
      expectReason(found[i]!, environments[i]!.LLM_DATADIST_LIBRARY, /^not tried: the Ascend runtime/);
    });
  });

  test('the addon: auto does not take the mock instead', async () => {
    const files = badFilesIn(temporaryFolder(), 'llm_datadist.node', built().addon);
    const found = await loadEach(files.map(({ path }) => ({ env: { LLM_DATADIST_ADDON: path } })));
    files.forEach(({ path, words }, i) => {
      expectReason(found[i]!, path, words);
      expect(found[i]!.auto.error?.message).toContain(`LLM_DATADIST_ADDON=${path} is set`);
    });
  });

  test('the bridge', async () => {
    const bridge = join(dirname(built().addon), 'llm_datadist_bridge.so');
    const files = badFilesIn(temporaryFolder(), 'llm_datadist_bridge.so', bridge);
    for (const { path, words } of files) {
      const addon = join(dirname(path), 'llm_datadist.node');
      copyFileSync(built().addon, addon);
      const env = { LLM_DATADIST_ADDON: addon, LLM_DATADIST_LIBRARY: built().library };
      const [found] = await loadEach([{ env }]);
      expectReason(found!, path, words);
    }
  });
});

describe('a file that this user may not read', () => {
  /** Of root and one group where root runs the tests, as CANN trees are; without rights otherwise. */
  function closed(path: string): string {
    if (process.getuid?.() === 0) {
      chownSync(path, 0, 4242);
      chmodSync(path, 0o750);
    } else {
      chmodSync(path, 0);
    }
    return path;
  }

  function openFolder(): string {
    const folder = temporaryFolder();
    chmodSync(folder, 0o755);
    return folder;
  }

  const addon = readableAddon();
  const mode = process.getuid?.() === 0 ? '750, owner 0, group 4242' : '000, owner \\d+, group \\d+';

  test('is named, with its mode, owner and group', async () => {
    const path = join(openFolder(), 'libllm_datadist.so');
    copyFileSync(built().library, path);
    const [found] = await loadEach(
      [{ env: { LLM_DATADIST_ADDON: addon, LLM_DATADIST_LIBRARY: closed(path) } }],
      'another',
    );
    expectReason(
      found!,
      path,
      new RegExp(`^permission denied: user \\d+ \\(groups .*\\) may not read ${path} \\(mode ${mode}\\)$`),
    );
  });

  test('lies in a folder that is named', async () => {
    const folder = openFolder();
    const home = join(folder, 'toolkit');
    mkdirSync(join(home, 'lib64'), { recursive: true });
    const path = join(home, 'lib64', 'libllm_datadist.so');
    copyFileSync(built().library, path);
    closed(home);
    const [found] = await loadEach([{ env: { LLM_DATADIST_ADDON: addon, ASCEND_HOME_PATH: home } }], 'another');
    const words = new RegExp(`^permission denied: user \\d+ \\(groups .*\\) may not enter ${home} \\(mode ${mode}\\)$`);
    expectReason(found!, path, words);
    chmodSync(home, 0o755);
  });

  test('and is in a folder of the search path leaves the folders behind it', async () => {
    const folder = openFolder();
    const [shut, open] = ['shut', 'open'].map((name) => join(folder, name)) as [string, string];
    for (const each of [shut, open]) {
      mkdirSync(each);
      copyFileSync(built().library, join(each, 'libllm_datadist.so'));
    }
    closed(join(shut, 'libllm_datadist.so'));
    writeFileSync(join(open, 'libllm_datadist.so'), 'no library');
    const [found] = await loadEach(
      [{ env: { LLM_DATADIST_ADDON: addon, LD_LIBRARY_PATH: `${shut}:${open}` } }],
      'another',
    );
    expectReason(found!, join(shut, 'libllm_datadist.so'), /^permission denied/);
    expectReason(found!, join(open, 'libllm_datadist.so'), /no ELF binary/);
    expect(found!.auto).toEqual({ backend: 'mock' });
  });

  test('is the addon', async () => {
    const path = join(openFolder(), 'llm_datadist.node');
    copyFileSync(built().addon, path);
    const [found] = await loadEach([{ env: { LLM_DATADIST_ADDON: closed(path) } }], 'another');
    expectReason(found!, path, /^permission denied/);
  });
});

describe('a valid library that is another one', () => {
  test('in the place of LLM-DataDist is named', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'libllm_datadist.so');
    compileLibrary(path, ['libraries/nothing.cc']);
    copyFileSync(built().runtime, join(folder, 'libascendcl.so'));
    const [found] = await loadEach([{ env: { LLM_DATADIST_LIBRARY: path } }]);
    expectReason(found!, path, /^is not LLM-DataDist: it does not export llm_datadist::LlmDataDist::Initialize$/);
  });

  test('in the place of the runtime is named', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'libllm_datadist.so');
    const runtime = join(folder, 'libascendcl.so');
    compileLibrary(path, ['libraries/obliging.cc', 'standin/library/ascend_string.cc'], ['-D_GLIBCXX_USE_CXX11_ABI=0']);
    compileLibrary(runtime, ['libraries/nothing.cc']);
    const [found] = await loadEach([{ env: { LLM_DATADIST_LIBRARY: path } }]);
    expectReason(found!, runtime, /^is not the Ascend runtime: it does not export aclrtMemcpy$/);
  });

  test('in the place of the addon is named', async () => {
    const path = join(temporaryFolder(), 'llm_datadist.node');
    compileLibrary(path, ['libraries/nothing.cc']);
    const [found] = await loadEach([{ env: { LLM_DATADIST_ADDON: path } }]);
    expectReason(found!, path, /did not self-register|module/i);
  });
});

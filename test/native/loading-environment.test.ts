import { copyFileSync, mkdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { built } from './fixtures/built';
import { temporaryFolder } from './fixtures/compiler';
import { loadEach } from './fixtures/load-each';
import { buildVariant } from './standin/build';

const { library, addon } = built();
const home = dirname(dirname(library));

describe('a relative path', () => {
  test.each([
    ['./', (path: string) => `./${basename(path)}`],
    ['a folder', (path: string) => join(basename(dirname(path)), basename(path))],
  ])(
    'in LLM_DATADIST_LIBRARY is one from the working directory, and so is the runtime beside it: %s',
    async (how, of) => {
      const cwd = how === './' ? dirname(library) : dirname(dirname(library));
      const [found] = await loadEach([{ env: { LLM_DATADIST_LIBRARY: of(library) }, cwd }]);
      expect(found!.native).toEqual({ backend: 'native' });
      expect(found!.probe).toMatchObject({
        available: true,
        libraryPath: library,
        runtimePath: join(dirname(library), 'libascendcl.so'),
      });
    },
  );

  test('of a file that is not there is reported with the folder in which it was looked for', async () => {
    const cwd = temporaryFolder();
    const [found] = await loadEach([{ env: { LLM_DATADIST_LIBRARY: './lib.so' }, cwd }]);
    expect(found!.native.error?.attempts).toEqual([{ path: join(cwd, 'lib.so'), error: 'no such file' }]);
    expect(found!.native.error?.message).toContain('LLM_DATADIST_LIBRARY=./lib.so is set');
  });

  test('in LLM_DATADIST_LIBRARY without a slash is none: a name for the search path of the loader', async () => {
    const name = basename(library);
    const inCwd = await loadEach([{ env: { LLM_DATADIST_LIBRARY: name }, cwd: dirname(library) }]);
    expect(inCwd[0]!.native.error?.attempts.map(({ path }) => path)).toContain(name);
    // The loader reads the search path when a process starts: that of the probe does so after this one has set it.
    const env = { LLM_DATADIST_LIBRARY: name, LD_LIBRARY_PATH: dirname(library) };
    const onPath = await loadEach([{ env, asks: ['probe'] }]);
    expect(onPath[0]!.probe).toMatchObject({ available: true, libraryPath: library });
  });

  test.each(['./llm_datadist.node', 'llm_datadist.node'])(
    'in LLM_DATADIST_ADDON is one from the working directory: %s',
    async (path) => {
      const env = { LLM_DATADIST_ADDON: path, LLM_DATADIST_LIBRARY: library };
      const [found] = await loadEach([{ env, cwd: dirname(addon) }]);
      expect(found!.native).toEqual({ backend: 'native' });
      expect(found!.probe).toMatchObject({ available: true, addonPath: addon });
    },
  );

  test('in ASCEND_HOME_PATH is one from the working directory', async () => {
    const [found] = await loadEach([{ env: { ASCEND_HOME_PATH: basename(home) }, cwd: dirname(home) }]);
    expect(found!.probe).toMatchObject({ available: true, libraryPath: library });
  });
});

describe('a message', () => {
  test('names the library that is set, and all that it excluded', async () => {
    const path = join(temporaryFolder(), 'none.so');
    const [found] = await loadEach([{ env: { LLM_DATADIST_LIBRARY: path, ASCEND_HOME_PATH: home } }]);
    const [note, ...others] = found!.native.error!.notes;
    expect(others).toEqual([]);
    expect(note).toContain(`LLM_DATADIST_LIBRARY=${path} is set, so no other place was tried`);
    for (const place of [
      `${home}/lib64 (ASCEND_HOME_PATH)`,
      '/usr/local/Ascend/cann/lib64',
      "the loader's search path",
    ]) {
      expect(note).toContain(place);
    }
    expect(found!.native.error!.message).toContain(note);
    expect(found!.probe.notes).toEqual([note]);
  });

  test('names the toolkit that is set', async () => {
    const folder = temporaryFolder();
    const [found] = await loadEach([{ env: { ASCEND_HOME_PATH: folder } }]);
    expect(found!.native.error!.notes).toEqual([`ASCEND_HOME_PATH=${folder} is set, so ${folder}/lib64 came first.`]);
    expect(found!.auto.error!.message).toContain('variables of the environment: ASCEND_HOME_PATH');
    expect(found!.probe.signs).toContainEqual({
      id: 'environment',
      text: expect.stringContaining('ASCEND_HOME_PATH') as string,
    });
  });

  test('names the addon that is set, and does not speak of a build where none can be made', async () => {
    const path = join(temporaryFolder(), 'none.node');
    const [found] = await loadEach([{ env: { LLM_DATADIST_ADDON: path } }]);
    const { message, notes } = found!.native.error!;
    expect(notes).toEqual([`LLM_DATADIST_ADDON=${path} is set, so no other addon was tried.`]);
    expect(message).toContain('Unset LLM_DATADIST_ADDON');
    expect(message).not.toContain('npm run');
  });
});

describe('auto', () => {
  test('finds the library of the toolkit, which is a sign as well', async () => {
    const [found] = await loadEach([{ env: { ASCEND_HOME_PATH: home } }]);
    expect(found!.auto).toEqual({ backend: 'native' });
  });

  test('fails where the library of the toolkit will not do', async () => {
    const { home: other } = buildVariant('no-initialize');
    const [found] = await loadEach([{ env: { ASCEND_HOME_PATH: other } }]);
    expect(found!.auto.error!.message).toMatch(/undefined symbol.*\n(.*\n)*This looks like an Ascend host: /);
  });

  test('takes the mock where nothing was set, and in the message is what was found', async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'libllm_datadist.so'));
    copyFileSync(built().runtime, join(folder, 'libascendcl.so'));
    const [found] = await loadEach([{ env: { LD_LIBRARY_PATH: folder } }]);
    expect(found!.auto).toEqual({ backend: 'mock' });
    expect(found!.native.error!.message).toContain(`${folder}/libllm_datadist.so: it is a folder`);
  });
});

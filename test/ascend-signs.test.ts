import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { LLMBackendError } from '../lib';
import { ascendSigns } from '../lib/backend/native/ascend-signs';
import type { AscendSign, HostView } from '../lib/backend/native/ascend-signs';
import { createBackend } from '../lib/backend/select';
import { compileLib } from './fixtures/compiled-lib';

const lib = compileLib('index');
const folder = mkdtempSync(join(tmpdir(), 'signs-'));
afterAll(() => {
  lib.remove();
  rmSync(folder, { recursive: true });
});

/** A host with these files and nothing else. */
function host(paths: readonly string[], env: NodeJS.ProcessEnv = {}): HostView {
  const names = (of: string) => paths.flatMap((path) => (path.startsWith(`${of}/`) ? [path.slice(of.length + 1)] : []));
  return { env, list: names, has: (path) => paths.includes(path) };
}

describe('a host', () => {
  test('without signs', () => {
    const paths = ['/dev/null', '/dev/nvidia0', '/dev/davinci', '/dev/davinci_x', '/usr/local/bin/node'];
    const env = { PATH: '/usr/local/bin', HOME: '/home/me', ASCEND_HOME_PATH: '', MY_ASCEND_X: '1', ASCENDING: '1' };
    expect(ascendSigns(host(paths, env))).toEqual([]);
  });

  test.each<[AscendSign['id'], readonly string[], NodeJS.ProcessEnv, string]>([
    ['device-nodes', ['/dev/davinci0', '/dev/davinci12'], {}, 'device nodes of NPUs: /dev/davinci0, /dev/davinci12'],
    ['device-nodes', ['/dev/davinci_manager'], {}, 'device nodes of NPUs: /dev/davinci_manager'],
    ['device-nodes', ['/dev/hisi_hdc', '/dev/devmm_svm'], {}, 'device nodes of NPUs: /dev/devmm_svm, /dev/hisi_hdc'],
    ['cann-folders', ['/usr/local/Ascend'], {}, 'files of a CANN or driver installation: /usr/local/Ascend'],
    [
      'cann-folders',
      ['/etc/ascend_install.info'],
      {},
      'files of a CANN or driver installation: /etc/ascend_install.info',
    ],
    [
      'cann-folders',
      ['/home/me/Ascend/ascend-toolkit'],
      { HOME: '/home/me' },
      'files of a CANN or driver installation: /home/me/Ascend/ascend-toolkit',
    ],
    [
      'environment',
      [],
      { ASCEND_VISIBLE_DEVICES: '0', ASCEND_HOME_PATH: '/opt/cann', ASCEND_OPP_PATH: '' },
      'variables of the environment: ASCEND_HOME_PATH, ASCEND_VISIBLE_DEVICES',
    ],
    ['npu-smi', ['/usr/sbin/npu-smi'], { PATH: '/usr/bin:/usr/sbin' }, 'the tool for NPUs: /usr/sbin/npu-smi'],
  ])('with the sign %s', (id, paths, env, text) => {
    expect(ascendSigns(host(paths, env))).toEqual([{ id, text }]);
  });

  test('with many device nodes names a few', () => {
    const nodes = Array.from({ length: 16 }, (_, i) => `/dev/davinci${i}`);
    const [sign] = ascendSigns(host(nodes));
    expect(sign?.text).toMatch(/^device nodes of NPUs: \/dev\/davinci0, .*, and 12 more$/);
  });

  test('with all signs names each', () => {
    const paths = ['/dev/davinci0', '/usr/local/Ascend', '/bin/npu-smi'];
    const env = { PATH: '/bin', ASCEND_X: '1' };
    expect(ascendSigns(host(paths, env)).map(({ id }) => id)).toEqual([
      'device-nodes',
      'cann-folders',
      'environment',
      'npu-smi',
    ]);
  });
});

describe('auto, where no addon can be loaded', () => {
  const options = { allowMultipleInstances: false };
  const { LLM_DATADIST_BACKEND: backend } = process.env;

  beforeEach(() => {
    delete process.env.LLM_DATADIST_BACKEND;
    process.env.LLM_DATADIST_ADDON = join(folder, 'none.node');
  });

  afterEach(() => {
    delete process.env.LLM_DATADIST_ADDON;
    if (backend !== undefined) process.env.LLM_DATADIST_BACKEND = backend;
  });

  const signs = ascendSigns(host(['/dev/davinci0', '/usr/local/Ascend']));
  const make = (choice: unknown) => createBackend(choice, 1n, 1, options, () => signs);

  test.each(['auto', undefined])('(%p) fails where there are signs, and says how to ask for the mock', (choice) => {
    let error: unknown;
    try {
      make(choice);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(LLMBackendError);
    const { message, signs: seen, attempts } = error as LLMBackendError;
    expect(seen).toEqual(signs.map(({ text }) => text));
    expect(attempts).toEqual([{ path: join(folder, 'none.node'), error: 'no such file' }]);
    for (const words of [...seen, 'none.node: no such file', "backend: 'mock'", 'LLM_DATADIST_BACKEND=mock']) {
      expect(message).toContain(words);
    }
    expect(JSON.parse(JSON.stringify(error))).toMatchObject({ signs: seen });
  });

  test('is the mock where it was asked for, signs or not', () => {
    expect(make('mock').name).toBe('mock');
    process.env.LLM_DATADIST_BACKEND = 'mock';
    expect(make('auto').name).toBe('mock');
  });

  test('and LLM_DATADIST_BACKEND=native fails as native does', () => {
    process.env.LLM_DATADIST_BACKEND = 'native';
    expect(() => make('auto')).toThrow(LLMBackendError);
    expect(() => make('auto')).not.toThrow(/Ascend host/);
  });
});

describe('auto in a program', () => {
  const program = `
    const { LLMDataDist } = require(process.argv[1]);
    try {
      console.log(new LLMDataDist(1, 1n).backendName);
    } catch (error) {
      console.log(error.name + ': ' + error.message);
    }
  `;

  function run(env: NodeJS.ProcessEnv, flags: readonly string[] = []) {
    const { stdout, stderr } = spawnSync(process.execPath, [...flags, '-e', program, lib.path], {
      encoding: 'utf8',
      env: { PATH: process.env.PATH, ...env },
    });
    return { stdout, stderr };
  }

  test.each([
    ['development', {}],
    ['production', { NODE_ENV: 'production' }],
  ])('is the mock with a warning where there is no sign: %s', (_, env) => {
    const { stdout, stderr } = run(env);
    expect(stdout).toBe('mock\n');
    expect(stderr).toContain('LLMDataDistMockWarning');
  });

  test.each([
    ['--no-warnings', {}, ['--no-warnings']],
    ['NODE_NO_WARNINGS', { NODE_NO_WARNINGS: '1', NODE_ENV: 'production' }, []],
  ])('fails where there is a sign, also with %s', (_, env, flags) => {
    const { stdout } = run({ ...env, ASCEND_VISIBLE_DEVICES: '0' }, flags);
    expect(stdout).toMatch(/^LLMBackendError: .*\n.*no such file/);
    expect(stdout).toContain('This looks like an Ascend host: variables of the environment: ASCEND_VISIBLE_DEVICES.');
    expect(stdout).toContain("'auto' does not fall back to the mock backend on such a host");
  });

  test('fails where npu-smi is in PATH, behind folders that are none or may not be read', () => {
    const bin = join(folder, 'bin');
    const shut = join(folder, 'shut');
    mkdirSync(bin);
    mkdirSync(shut, { mode: 0 });
    writeFileSync(join(bin, 'npu-smi'), '');
    writeFileSync(join(folder, 'file'), '');
    const path = [join(folder, 'file'), join(folder, 'none'), shut, '', bin].join(delimiter);
    expect(run({ PATH: path }).stdout).toContain(`the tool for NPUs: ${join(bin, 'npu-smi')}`);
  });

  test('says what fails on the way of the library too: a file that was asked for is not replaced by the mock', () => {
    const { stdout } = run({ LLM_DATADIST_LIBRARY: join(folder, 'libllm_datadist.so') });
    expect(stdout).toContain("'auto' does not fall back to the mock backend where LLM_DATADIST_LIBRARY is set");
    expect(stdout).toContain('LLM_DATADIST_BACKEND=mock');
  });
});

import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { modulesFolder, moduleFile } from '../lib/package-files';

const LIB = resolve(__dirname, '../lib');

test('the modules of a checkout and of an installed package have a folder', () => {
  expect(modulesFolder()).toBe(LIB);
  const app = realpathSync(mkdtempSync(join(tmpdir(), 'package-files-')));
  try {
    const dist = join(app, 'node_modules', 'llm-datadist', 'dist');
    mkdirSync(dist, { recursive: true });
    const file = join(dist, 'package-files.js');
    writeFileSync(file, '');
    expect(modulesFolder(file)).toBe(dist);
    expect(moduleFile('a/b', file)).toBe(join(dist, 'a', 'b.js'));
  } finally {
    rmSync(app, { recursive: true });
  }
});

test('a module is a file beside the others', () => {
  expect(moduleFile('conformance/host-program')).toBe(join(LIB, 'conformance', 'host-program.ts'));
});

describe.each([
  ['an ES module, which has no file name', ''],
  ['a bundle under its own name', '/app/server.js'],
  ['a name that a bundler makes up', '/index.js'],
  ['a name relative to the project', 'node_modules/llm-datadist/dist/package-files.js'],
  ['a bundle that has the name from where it was made', '/build/node_modules/llm-datadist/dist/package-files.js'],
])('in %s', (_, file) => {
  test('there are none, and asking for one names external', () => {
    expect(modulesFolder(file)).toBeUndefined();
    expect(() => moduleFile('conformance/host-program', file)).toThrow(/conformance\/host-program\.js.*external/);
  });
});

test('scenarios, processes and the addon are missed in a bundle with the reason', () => {
  jest.isolateModules(() => {
    jest.doMock('../lib/package-files', () => {
      const actual = jest.requireActual<typeof import('../lib/package-files')>('../lib/package-files');
      return {
        ...actual,
        modulesFolder: () => actual.modulesFolder('/app/server.js'),
        moduleFile: (name: string) => actual.moduleFile(name, '/app/server.js'),
      };
    });
    const lib = jest.requireActual<typeof import('../lib')>('../lib');
    const conformance = jest.requireActual<typeof import('../lib/conformance')>('../lib/conformance');
    expect(() => conformance.shippedScenarios()).toThrow(/mark llm-datadist as external/);
    expect(() => conformance.childHosts({ backend: 'mock', processes: 'node' })).toThrow(/external/);
    delete process.env.LLM_DATADIST_ADDON;
    expect(lib.probeNative()).toMatchObject({ available: false, attempts: [{ path: 'llm_datadist.node' }] });
    expect(() => new lib.LLMDataDist(1, 1n, { backend: 'native' })).toThrow(/mark llm-datadist as external/);
    jest.dontMock('../lib/package-files');
  });
});

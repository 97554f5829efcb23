import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { elfFile } from './fixtures/elf-file';

const scripts = path.join(__dirname, '..', 'scripts');
const checkPackage = path.join(scripts, 'check-package.js');
const writeEsmDoors = path.join(scripts, 'write-esm-doors.js');

/** File contents by path, relative to the package. */
type Files = Record<string, string | Uint8Array>;

const manifest = {
  name: 'llm-datadist',
  version: '1.2.3',
  license: 'Apache-2.0',
  type: 'commonjs',
  main: './dist/index.js',
  types: './dist/index.d.ts',
  files: ['dist', 'prebuilds', 'native/SAFETY.md', 'CHANGELOG.md'],
  scripts: { build: `"${process.execPath}" "${writeEsmDoors}" .`, prebuild: '' } as Record<string, string>,
  exports: Object.fromEntries([
    ...['', '/testing', '/conformance'].map((name) => [
      `.${name}`,
      {
        import: { types: `./dist${name}/index.d.mts`, default: `./dist${name}/index.mjs` },
        require: { types: `./dist${name}/index.d.ts`, default: `./dist${name}/index.js` },
      },
    ]),
    ['./package.json', './package.json'],
  ]) as Record<string, unknown>,
  typesVersions: {
    '*': { testing: ['./dist/testing/index.d.ts'], conformance: ['./dist/conformance/index.d.ts'] },
  },
};

/** A package in the shape of this one, small enough to be packed and looked at within a test. */
function smallPackage(): Files {
  const code = `'use strict';
Object.defineProperty(exports, '__esModule', { value: true });
class LLMDataDist {}
class LLMException extends Error {}
exports.LLMDataDist = LLMDataDist;
exports.LLMException = LLMException;
exports.LLMRole = { PROMPT: 1 };
const path = require('node:path');
const folder = path.join(__dirname, '..', 'prebuilds', 'linux-' + process.arch);
exports.probeNative = () => ({ addonPath: path.join(folder, 'llm_datadist.node'), attempts: [] });
//# sourceMappingURL=index.js.map
`;
  const declarations = `export interface CacheDesc { numTensors: number }
export interface KvCache { readonly cacheId: bigint }
export declare enum LLMRole { PROMPT = 1 }
export declare function probeNative(): object;
export declare class LLMException extends Error { readonly statusCode: number }
export declare class LLMDataDist {
  constructor(role: LLMRole, clusterId: bigint, options?: { backend?: string });
  init(options: { deviceId: number }): Promise<void>;
  readonly kvCacheManager: { allocateCache(desc: CacheDesc): Promise<KvCache> };
}
`;
  const files: Files = {
    'package.json': JSON.stringify(manifest),
    'README.md': '# small\n',
    'CHANGELOG.md': '# changes\n',
    LICENSE: 'a license\n',
    'native/SAFETY.md': '# rules\n',
    'native/addon.cc': '// not published\n',
    'dist/index.js': code,
    'dist/index.js.map': JSON.stringify({
      version: 3,
      sources: ['../lib/index.ts'],
      sourcesContent: [''],
      mappings: '',
    }),
    'dist/index.d.ts': declarations,
    'dist/conformance/scenarios.jsonl.gz': '',
    'lib/index.ts': '',
  };
  for (const name of ['testing', 'conformance']) {
    files[`dist/${name}/index.js`] = `'use strict';\nexports.${name} = () => '${name}';\n`;
    files[`dist/${name}/index.d.ts`] = `export declare const ${name}: () => string;\n`;
    files[`lib/${name}/index.ts`] = '';
  }
  for (const machine of ['x64', 'arm64'] as const) {
    for (const name of ['llm_datadist.node', 'llm_datadist_bridge.so']) {
      files[`prebuilds/linux-${machine}/${name}`] = elfFile({ machine });
    }
  }
  return files;
}

// A jest worker forces colours, and Node prints a warning when the host asks for none at the same time.
const plainText = { ...process.env, FORCE_COLOR: undefined };

let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'llm-datadist-package-test-'));
});

afterEach(() => {
  fs.rmSync(folder, { recursive: true });
});

function write(files: Files): void {
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    fs.writeFileSync(path.join(folder, name), text);
  }
}

function run(
  script: string,
  env: NodeJS.ProcessEnv = plainText,
): { status: number | null; stdout: string; stderr: string } {
  const args = script === checkPackage ? ['--offline', folder] : [folder];
  return spawnSync(process.execPath, [script, ...args], { encoding: 'utf8', env });
}

/** The rows that failed, each with the reasons printed below it. */
function failedRows(stdout: string): Map<string, string> {
  const rows = stdout.matchAll(/^FAIL {2}(.*)\n((?: {8}.*\n)*)/gm);
  return new Map([...rows].map(([, name, reasons]) => [name!, reasons!]));
}

function lastLine(stdout: string): string {
  return stdout.trimEnd().split('\n').at(-1)!;
}

describe('write-esm-doors', () => {
  test('re-exports every name of each entry point, and the module itself as the default', () => {
    write(smallPackage());
    expect(run(writeEsmDoors)).toMatchObject({ status: 0, stderr: '' });
    const door = path.join(folder, 'dist/index.mjs');
    const print = `import(process.argv[1]).then((door) => console.log(Object.keys(door).sort().join()))`;
    const imported = spawnSync(process.execPath, ['-e', print, door], { encoding: 'utf8', env: plainText });
    expect(imported).toMatchObject({ stdout: 'LLMDataDist,LLMException,LLMRole,default,probeNative\n', stderr: '' });
    expect(fs.readFileSync(path.join(folder, 'dist/index.d.mts'), 'utf8')).toContain(`export * from './index.js';`);
    expect(fs.existsSync(path.join(folder, 'dist/testing/index.mjs'))).toBe(true);
    expect(fs.existsSync(path.join(folder, 'dist/conformance/index.d.mts'))).toBe(true);
  });

  test('lets modules find what Node has built in without require(), and changes nothing the second time', () => {
    const files = smallPackage();
    files['dist/deep/module.js'] = `const util = require("node:util");\nexports.text = util.inspect(require('./x'));\n`;
    write(files);
    for (let time = 0; time < 2; time += 1) {
      expect(run(writeEsmDoors)).toMatchObject({ status: 0, stderr: '' });
      expect(fs.readFileSync(path.join(folder, 'dist/deep/module.js'), 'utf8')).toBe(
        `const util = (process.getBuiltinModule?.("node:util") ?? require("node:util"));\n` +
          `exports.text = util.inspect(require('./x'));\n`,
      );
    }
  });

  test('fails, naming the module, when an entry point was not built', () => {
    const files = smallPackage();
    delete files['dist/testing/index.js'];
    write(files);
    const { status, stderr } = run(writeEsmDoors);
    expect(status).toBe(1);
    expect(stderr).toBe(
      'write-esm-doors: ./dist/testing/index.js is not there: build the CommonJS modules first (tsc -p tsconfig.build.json)\n',
    );
  });

  test('fails when an entry point exports nothing', () => {
    write({ ...smallPackage(), 'dist/conformance/index.js': `'use strict';\n` });
    const { status, stderr } = run(writeEsmDoors);
    expect(status).toBe(1);
    expect(stderr).toContain('./dist/conformance/index.js exports nothing');
  });
});

describe('check-package', () => {
  const timeout = 400_000;

  test(
    'passes a sound package',
    () => {
      write(smallPackage());
      const { status, stdout, stderr } = run(checkPackage);
      expect(failedRows(stdout)).toEqual(new Map());
      expect({ status, stderr, last: lastLine(stdout) }).toEqual({
        status: 0,
        stderr: '',
        last: '25 passed, 0 failed',
      });
    },
    timeout,
  );

  test(
    'finds every planted fault, says what is wrong, and exits with 1',
    () => {
      const files = smallPackage();
      delete files['CHANGELOG.md'];
      delete files['prebuilds/linux-arm64/llm_datadist_bridge.so'];
      delete files['dist/conformance/scenarios.jsonl.gz'];
      // The folder of this machine, a class of its own behind the ES module door, no types behind another one.
      const spoil = `
        const fs = require('node:fs');
        fs.appendFileSync('dist/index.js', '// ' + __dirname + '/lib');
        fs.appendFileSync('dist/index.mjs', 'export class Another {}');
        fs.rmSync('dist/testing/index.d.mts');
        process.exit(3);`;
      write({
        ...files,
        'package.json': JSON.stringify({
          ...manifest,
          scripts: {
            build: `${manifest.scripts.build!} && node spoil.js`,
            postinstall: 'node --version',
            preprebuild: 'exit 4',
            prebuild: '',
          },
          dependencies: { extra: '1.0.0' },
          bundleDependencies: ['extra'],
        }),
        'spoil.js': spoil,
        'node_modules/extra/package.json': JSON.stringify({ name: 'extra', version: '1.0.0' }),
        'prebuilds/linux-arm64/llm_datadist.node': elfFile({ machine: 'x64', isStripped: false }),
        'prebuilds/linux-x64/llm_datadist_bridge.so': elfFile({
          machine: 'x64',
          versions: [{ library: 'libc.so.6', version: 'GLIBC_2.34', symbols: ['dlopen'] }],
        }),
        'prebuilds/linux-sparc/llm_datadist.node': elfFile({ machine: 'sparc' }),
        'prebuilds/linux-x64/notes.txt': '',
        'dist/old.js': '',
        'dist/old.mjs': '',
        'dist/notes.md': '',
        'dist/testing/index.js.map': JSON.stringify({
          version: 3,
          sources: ['../../lib/testing/index.ts'],
          mappings: '',
        }),
        'dist/index.js': (files['dist/index.js'] as string).replace(`'linux-' +`, `'elsewhere-' +`),
        'dist/conformance/index.js': `'use strict';\nconsole.log('loaded');\nexports.conformance = () => 'conformance';\n`,
        'dist/index.d.ts': (files['dist/index.d.ts'] as string).replace('role: LLMRole', 'role: any'),
      });
      const { status, stdout } = run(checkPackage);
      const failed = failedRows(stdout);
      expect([...failed.keys()]).toEqual([
        'npm run build',
        'npm run prebuild',
        'publint, strict',
        'are the types wrong: node10, node16 from CommonJS, node16 from ESM, bundler',
        'nothing runs at install and nothing comes along',
        'the files are those that are meant to be published',
        'the prebuilt binaries are there for each processor, and load wherever Node does',
        'the prebuilt addon is found and loaded, without a compiler',
        'source maps lead to published text',
        'no file names a folder of this machine',
        'llm-datadist: import and require() give the same objects',
        `require('llm-datadist/conformance')`,
        `import('llm-datadist/conformance')`,
        'llm-datadist/conformance: import and require() give the same objects',
        'a TypeScript consumer compiles: node10',
        'a TypeScript consumer compiles: node16 from CommonJS',
        'a TypeScript consumer compiles: node16 from an ES module',
        'a TypeScript consumer compiles: bundler',
      ]);
      expect(failed.get('npm run build')).toContain('it ended with 3');
      expect(failed.get('publint, strict')).toContain('dist/testing/index.d.mts but the file does not exist');
      expect(failed.get('are the types wrong: node10, node16 from CommonJS, node16 from ESM, bundler')).toContain(
        'No types',
      );
      expect(failed.get('nothing runs at install and nothing comes along')).toBe(
        [
          '        npm runs a script at install\n',
          '        the package brings node_modules/llm-datadist/node_modules/extra along: it must have no runtime dependency\n',
        ].join(''),
      );
      expect(failed.get('the files are those that are meant to be published')).toBe(
        [
          '        dist/notes.md: not on the list of files that are published\n',
          '        dist/old.js: lib/old.ts is gone: remove dist/ and build again\n',
          '        dist/old.mjs: no entry point of package.json names it\n',
          '        node_modules/extra/package.json: not on the list of files that are published\n',
          '        prebuilds/linux-sparc/llm_datadist.node: not on the list of files that are published\n',
          '        prebuilds/linux-x64/notes.txt: not on the list of files that are published\n',
          '        dist/conformance/scenarios.jsonl.gz: missing\n',
          '        CHANGELOG.md: missing\n',
        ].join(''),
      );
      expect(failed.get('the prebuilt binaries are there for each processor, and load wherever Node does')).toBe(
        [
          '        prebuilds/linux-x64: llm_datadist_bridge.so needs dlopen of libc.so.6 at version GLIBC_2.34; GLIBC_2.28 is the limit\n',
          '        prebuilds/linux-arm64: llm_datadist.node is for x64, not for arm64\n',
          '        prebuilds/linux-arm64: llm_datadist.node is not stripped\n',
          '        prebuilds/linux-arm64: llm_datadist_bridge.so is missing\n',
        ].join(''),
      );
      expect(failed.get('the prebuilt addon is found and loaded, without a compiler')).toContain('elsewhere-');
      expect(failed.get('source maps lead to published text')).toContain(
        'dist/testing/index.js.map: its source ../../lib/testing/index.ts is neither embedded nor published',
      );
      expect(failed.get('no file names a folder of this machine')).toContain('dist/index.js: names the folder');
      expect(failed.get('llm-datadist: import and require() give the same objects')).toContain('Another');
      expect(failed.get(`require('llm-datadist/conformance')`)).toContain('loaded');
      expect(failed.get('a TypeScript consumer compiles: node16 from CommonJS')).toContain(
        `Unused '@ts-expect-error' directive`,
      );
      expect({ status, last: lastLine(stdout) }).toEqual({ status: 1, last: '7 passed, 18 failed' });
    },
    timeout,
  );

  test(
    'finds what only a compiler reads, and what package managers run one for',
    () => {
      const files = [...manifest.files, 'native', 'binding.gyp', 'CMakeLists.txt'];
      write({ ...smallPackage(), 'binding.gyp': '{}', 'CMakeLists.txt': '', 'native/addon.h': '' });
      write({ 'package.json': JSON.stringify({ ...manifest, gypfile: false, files }) });
      const { status, stdout } = run(checkPackage);
      const failed = failedRows(stdout);
      expect([...failed.keys()]).toEqual(['the files are those that are meant to be published']);
      expect(failed.get('the files are those that are meant to be published')).toBe(
        ['CMakeLists.txt', 'binding.gyp', 'native/addon.cc', 'native/addon.h']
          .map((name) => `        ${name}: nothing can be built from the tarball, and package managers would try to\n`)
          .join(''),
      );
      expect(status).toBe(1);
    },
    timeout,
  );

  test(
    'fails where sub-paths are not found without an exports map',
    () => {
      write({ ...smallPackage(), 'package.json': JSON.stringify({ ...manifest, typesVersions: undefined }) });
      const { status, stdout } = run(checkPackage);
      const failed = failedRows(stdout);
      expect([...failed.keys()]).toEqual([
        'are the types wrong: node10, node16 from CommonJS, node16 from ESM, bundler',
        'a TypeScript consumer compiles: node10',
      ]);
      expect(failed.get('a TypeScript consumer compiles: node10')).toContain(`'llm-datadist/testing'`);
      expect(status).toBe(1);
    },
    timeout,
  );

  test(
    'stops, and fails, when the package cannot be packed',
    () => {
      write({ ...smallPackage(), 'package.json': JSON.stringify({ ...manifest, version: undefined }) });
      const { status, stdout } = run(checkPackage);
      expect([...failedRows(stdout).keys()]).toEqual(['npm pack']);
      expect({ status, last: lastLine(stdout) }).toEqual({ status: 1, last: '2 passed, 1 failed' });
    },
    timeout,
  );

  test('fails, and says so, when there is no npm', () => {
    write(smallPackage());
    const { status, stdout } = run(checkPackage, { ...plainText, PATH: folder });
    const failed = failedRows(stdout);
    expect([...failed.keys()]).toEqual(['npm run build', 'npm run prebuild', 'npm pack']);
    expect(failed.get('npm pack')).toContain('spawnSync npm ENOENT');
    expect({ status, last: lastLine(stdout) }).toEqual({ status: 1, last: '0 passed, 3 failed' });
  });
});

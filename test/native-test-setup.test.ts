import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import {
  PLAIN_ENVIRONMENT,
  buildNative,
  buildableCopy,
  copyOfThePackage,
  temporaryFolder,
} from './fixtures/package-copy';
import { pathWith } from './fixtures/pretended-tools';

const root = path.join(__dirname, '..');

/** A copy with jest's configuration and one test in test/native, which notes that it has run. */
function copyWithTests(): string {
  const copy = buildableCopy();
  for (const folder of ['examples', 'test/native']) fs.mkdirSync(path.join(copy, folder), { recursive: true });
  for (const name of ['jest.config.js', 'test/not-checked-reporter.js', 'test/native/global-setup.ts']) {
    fs.copyFileSync(path.join(root, name), path.join(copy, name));
  }
  fs.cpSync(path.join(root, 'test/native/standin'), path.join(copy, 'test/native/standin'), {
    recursive: true,
    filter: (file) => !file.endsWith('.test.ts'),
  });
  fs.writeFileSync(
    path.join(copy, 'test', 'native', 'some.test.ts'),
    `test('something', () => { require('node:fs').writeFileSync('ran', ''); });`,
  );
  fs.writeFileSync(path.join(copy, 'test', 'other.test.ts'), `test('what needs no addon', () => {});`);
  return copy;
}

function runJest(copy: string, env: NodeJS.ProcessEnv) {
  const args = [path.join(root, 'node_modules/jest/bin/jest.js'), '--ci', '--rootDir', copy];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: copy,
    encoding: 'utf8',
    env: { ...PLAIN_ENVIRONMENT, ...env },
  });
  return { status, output: stdout + stderr, hasRun: fs.existsSync(path.join(copy, 'ran')) };
}

describe('npm test and the tests of test/native', () => {
  const lacking = { PATH: pathWith('make', 'flock') };

  test('where there are no tools to build the addon they are left out, and the end of the run says so and why', () => {
    const { status, output, hasRun } = runJest(copyWithTests(), lacking);
    expect(output).toMatch(
      /Ran all test suites[^]*\nNOT CHECKED on this host: the addon [^\n]* \(1 test files in test\/native\),\n[^]*\nTo check it, install a C\+\+17 compiler [^\n]*\n$/,
    );
    expect({ status, hasRun }).toEqual({ status: 0, hasRun: false });
  });

  test('a folder of the PATH that may not be read stops nothing', () => {
    const closed = temporaryFolder();
    const readOnce = path.join(temporaryFolder(), 'closed.js');
    // The tests may run as root, to which no folder is closed.
    fs.writeFileSync(
      readOnce,
      `const fs = require('node:fs');
       for (const name of ['readdirSync', 'statSync']) {
         const ask = fs[name];
         fs[name] = (file, ...rest) => {
           if (!String(file).startsWith(${JSON.stringify(closed)})) return ask(file, ...rest);
           throw Object.assign(new Error('EACCES'), { code: 'EACCES', syscall: name });
         };
       }`,
    );
    fs.chmodSync(closed, 0);
    const script = path.join(root, 'scripts', 'build-native.js');
    const ask = ['--require', readOnce, script, '--arch', 'arm64', '--out', 'nowhere', '--check'];
    const env = { ...PLAIN_ENVIRONMENT, PATH: `${closed}:${pathWith('make', 'flock', 'cmake')}` };
    const { status, stderr } = spawnSync(process.execPath, ask, { encoding: 'utf8', env });
    expect(stderr).toMatch(/^build-native: the addon for arm64 cannot be built with cmake-js on this host: install /);
    expect(status).toBe(1);
    const { output } = runJest(copyWithTests(), { PATH: `${closed}:${lacking.PATH}` });
    expect(output).toContain('NOT CHECKED on this host');
  });

  test('where the addon is given they build nothing', () => {
    const copy = copyWithTests();
    const env = { LLM_DATADIST_ADDON: '/elsewhere/llm_datadist.node', PATH: pathWith() };
    expect(runJest(copy, env)).toMatchObject({ status: 0, hasRun: true });
    expect(fs.existsSync(path.join(copy, 'build'))).toBe(false);
  });

  if (buildNative(copyOfThePackage(), ['--check']).status === 0) {
    test('where the addon cannot be built the run fails, with the words of the build', () => {
      const copy = copyWithTests();
      fs.appendFileSync(path.join(copy, 'CMakeLists.txt'), 'message(FATAL_ERROR "the words of the build")\n');
      const { status, output, hasRun } = runJest(copy, {});
      expect(output).toContain('the addon that test/native is about cannot be built');
      expect(output).toContain('the words of the build');
      expect({ status, hasRun }).toEqual({ status: 1, hasRun: false });
    });
  }
});

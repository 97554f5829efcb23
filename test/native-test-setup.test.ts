import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { PLAIN_ENVIRONMENT, buildNative, buildableCopy, copyOfThePackage } from './fixtures/package-copy';
import { pathWith } from './fixtures/pretended-tools';

const root = path.join(__dirname, '..');

/** A copy with jest's configuration and one test in test/native, which notes that it has run. */
function copyWithTests(): string {
  const copy = buildableCopy();
  for (const folder of ['examples', 'test/native']) fs.mkdirSync(path.join(copy, folder), { recursive: true });
  for (const name of ['jest.config.js', 'test/native/global-setup.ts', 'test/native/not-checked.ts']) {
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
  test('where there are no tools to build the addon they are not run, and the run says which are missing', () => {
    const { status, output, hasRun } = runJest(copyWithTests(), { PATH: pathWith('make', 'flock') });
    expect(output).toContain('the tests of test/native are not run on this host: install a C++17 compiler');
    expect(output).toContain('NOT CHECKED HERE');
    expect({ status, hasRun }).toEqual({ status: 0, hasRun: false });
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

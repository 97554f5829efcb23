import * as fs from 'node:fs';
import * as path from 'node:path';
import { temporaryFolder } from './fixtures/package-copy';

/** See scripts/check-package/package-managers.js. */
interface Manager {
  readonly name: string;
  command(): string[];
  steps(tarball: string, name: string): string[][];
  readonly fresh?: readonly number[];
  readonly own?: RegExp;
}

interface Consumer {
  readonly name: string;
  readonly tarball: string;
  readonly programs: Readonly<Record<string, string>>;
  readonly registry: string;
}

const { MANAGERS, checkManager } = jest.requireActual<{
  readonly MANAGERS: readonly Manager[];
  readonly checkManager: (manager: Manager, project: string, consumer: Consumer) => void;
}>('../scripts/check-package/package-managers');

jest.setTimeout(120_000);
const INSTALL = `fs.mkdirSync('node_modules/small', { recursive: true }); fs.writeFileSync('node_modules/small/index.js', '');`;

let folder: string;

beforeEach(() => {
  folder = temporaryFolder();
  fs.writeFileSync(path.join(folder, 'small.tgz'), '');
});

/** A package manager that does this in each step; `step` is the first argument. */
function pretended(code: string, more: Partial<Manager> = {}): Manager {
  const program = path.join(folder, 'manager.js');
  fs.writeFileSync(program, `const fs = require('node:fs'); const [step] = process.argv.slice(2); ${code}`);
  return {
    name: 'pretended',
    command: () => [process.execPath, program],
    steps: (tarball) => [['add', tarball], ['again']],
    ...more,
  };
}

function check(
  manager: Manager,
  programs: Readonly<Record<string, string>> = { 'main.cjs': `require('small');` },
): void {
  const tarball = path.join(folder, 'small.tgz');
  const registry = 'http://registry.invalid/';
  checkManager(manager, path.join(folder, 'project'), { name: 'small', tarball, programs, registry });
}

test('the managers are those that users have', () => {
  expect(MANAGERS.map(({ name }) => name)).toEqual([
    'npm 10',
    'npm 11',
    'yarn 1',
    'yarn 4, pnp',
    'yarn 4, node-modules',
    'pnpm 9',
    'pnpm 10',
    'bun',
  ]);
});

describe('a check of a package manager', () => {
  test('passes when all steps and programs do', () => {
    expect(() => {
      check(pretended(INSTALL));
    }).not.toThrow();
  });

  test.each<[string, string, string]>([
    ['a step fails', `${INSTALL} if (step === 'again') process.exit(3);`, '`again` ended with 3'],
    ['a build was ignored', `${INSTALL} console.log('Ignored build scripts: small');`, 'Ignored build scripts: small'],
    ['a build was tried', `${INSTALL} console.error('gyp info it worked');`, 'gyp info it worked'],
    ['there is a warning', `${INSTALL} console.error('npm warn something');`, 'npm warn something'],
    ['something was built', `${INSTALL} fs.mkdirSync('node_modules/small/build', { recursive: true });`, 'build/'],
    ['the package does not load', '', `Cannot find module 'small'`],
  ])('fails when %s', (_, code, words) => {
    expect(() => {
      check(pretended(code));
    }).toThrow(words);
  });

  test('leaves out what a manager says about itself', () => {
    expect(() => {
      check(pretended(`${INSTALL} console.log('warning: I am new');`, { own: /I am new/ }));
    }).not.toThrow();
  });

  test('removes what is installed before a step that is to start fresh', () => {
    const code = `if (step === 'add') { ${INSTALL} } else if (fs.existsSync('node_modules')) process.exit(4);`;
    expect(() => {
      check(pretended(code));
    }).toThrow('ended with 4');
    fs.rmSync(path.join(folder, 'project'), { recursive: true });
    expect(() => {
      check(pretended(code, { fresh: [1] }), {});
    }).not.toThrow();
  });

  test('gives the registry of npm and switches scripts on, whatever npm of this host was configured with', () => {
    const before = process.env.npm_config_ignore_scripts;
    process.env.npm_config_ignore_scripts = 'true';
    try {
      check(pretended(`${INSTALL} fs.writeFileSync('env.json', JSON.stringify(process.env));`));
    } finally {
      if (before === undefined) delete process.env.npm_config_ignore_scripts;
      else process.env.npm_config_ignore_scripts = before;
    }
    expect(JSON.parse(fs.readFileSync(path.join(folder, 'project', 'env.json'), 'utf8'))).toMatchObject({
      npm_config_registry: 'http://registry.invalid/',
      YARN_NPM_REGISTRY_SERVER: 'http://registry.invalid/',
      YARN_UNSAFE_HTTP_WHITELIST: 'registry.invalid',
      BUN_CONFIG_REGISTRY: 'http://registry.invalid/',
      npm_config_ignore_scripts: 'false',
      YARN_ENABLE_SCRIPTS: 'true',
    });
  });
});

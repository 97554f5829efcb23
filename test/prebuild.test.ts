import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { ElfContents } from './fixtures/elf-file';
import { PLAIN_ENVIRONMENT, copyOfThePackage, temporaryFolder } from './fixtures/package-copy';
import { ADDON, BRIDGE, pathWith, pretendCmakeJs } from './fixtures/pretended-tools';

const TOOLS = ['make', 'cmake', 'flock'];
const COMPILERS = ['x86_64-linux-gnu-g++', 'aarch64-linux-gnu-g++-12'];

/** Runs the script as on a host of a third kind, which can load neither of what it builds. */
function prebuild(copy: string, args: string[], compilers = COMPILERS, more: NodeJS.ProcessEnv = {}) {
  const otherHost = path.join(temporaryFolder(), 'other-host.js');
  fs.writeFileSync(otherHost, `Object.defineProperty(process, 'arch', { value: 'riscv64' });`);
  return spawnSync(process.execPath, [path.join(copy, 'scripts', 'prebuild.js'), ...args], {
    encoding: 'utf8',
    env: {
      ...PLAIN_ENVIRONMENT,
      LLM_DATADIST_PREBUILD: undefined,
      npm_command: undefined,
      PATH: pathWith(...TOOLS, ...compilers),
      NODE_OPTIONS: `--require=${otherHost}`,
      ...more,
    },
  });
}

function copyThatBuilds(addon: ElfContents = {}, bridge: ElfContents = {}): string {
  const copy = copyOfThePackage();
  pretendCmakeJs(copy, addon, bridge);
  return copy;
}

function prebuilds(copy: string): string[] {
  const folder = path.join(copy, 'prebuilds');
  if (!fs.existsSync(folder)) return [];
  return fs.readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
}

const libc = (version: string, ...symbols: string[]) => ({ library: 'libc.so.6', version, symbols });
const both = (arch: string) => [`linux-${arch}`, `linux-${arch}/${ADDON}`, `linux-${arch}/${BRIDGE}`];

describe('prebuild', () => {
  test('makes the binaries of both processors, and says what they need', () => {
    const copy = copyThatBuilds({ versions: [libc('GLIBC_2.17', 'dlopen')] }, { versions: [libc('GLIBC_2.3', 'x')] });
    const { status, stdout, stderr } = prebuild(copy, []);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('made prebuilds/linux-x64: needs GLIBC_2.17, GLIBC_2.3\n');
    expect(stdout).toContain('made prebuilds/linux-arm64: needs GLIBC_2.17, GLIBC_2.3\n');
    expect(prebuilds(copy)).toEqual([...both('arm64'), ...both('x64')]);
  });

  test('has the linker strip them', () => {
    const copy = copyThatBuilds();
    prebuild(copy, []);
    const tree = path.join(copy, 'build', 'prebuild-arm64', 'cmake', 'request.json');
    expect(JSON.parse(fs.readFileSync(tree, 'utf8'))).toMatchObject({ LDFLAGS: '-s', CXXFLAGS: '' });
  });

  test.each<[string, ElfContents, ElfContents, string]>([
    [
      'the addon needs a newer glibc',
      { versions: [libc('GLIBC_2.34', 'dlopen')] },
      {},
      `${ADDON} needs dlopen of libc.so.6 at version GLIBC_2.34; GLIBC_2.28 is the limit`,
    ],
    [
      'the bridge needs a library of the vendor',
      {},
      { libraries: ['libascendcl.so'] },
      `${BRIDGE} needs libascendcl.so`,
    ],
    ['the addon is not stripped', { isStripped: false }, {}, `${ADDON} is not stripped`],
  ])('fails when %s, and leaves what was there', (_, addon, bridge, words) => {
    const copy = copyThatBuilds(addon, bridge);
    fs.mkdirSync(path.join(copy, 'prebuilds', 'linux-x64'), { recursive: true });
    const { status, stderr } = prebuild(copy, []);
    expect(stderr).toContain('prebuild: the build for x64 is not fit for others:\n');
    expect(stderr).toContain(words);
    expect(status).toBe(1);
    expect(prebuilds(copy)).toEqual(['linux-x64']);
  });

  test('fails when the build does', () => {
    const copy = copyThatBuilds({ exported: [] });
    const { status, stderr } = prebuild(copy, []);
    expect(stderr).toContain('build-native: llm_datadist.node does not export');
    expect(stderr).toContain('prebuild: the build for x64 failed; its own messages are above\n');
    expect(status).toBe(1);
  });

  test('fails when there is no compiler for one of them, makes nothing, and names the way to a package for a trial', () => {
    const copy = copyThatBuilds();
    const { status, stdout, stderr } = prebuild(copy, [], ['x86_64-linux-gnu-g++']);
    expect(stderr).toContain('prebuild: linux-arm64 cannot be made on this host: install a C++17 compiler for arm64');
    expect(stderr).toContain('for a trial on this machine only, set LLM_DATADIST_PREBUILD=available');
    expect({ status, stdout, made: prebuilds(copy) }).toEqual({ status: 1, stdout: '', made: [] });
  });

  test('with LLM_DATADIST_PREBUILD=available leaves out what there is no compiler for, says so last, and keeps no older one', () => {
    const copy = copyThatBuilds();
    prebuild(copy, []);
    expect(prebuilds(copy)).toContain('linux-arm64');
    const { status, stderr } = prebuild(copy, [], ['x86_64-linux-gnu-g++'], { LLM_DATADIST_PREBUILD: 'available' });
    expect(stderr).toMatch(/^prebuild: LEFT OUT, so do not publish this package: linux-arm64 cannot be made [^\n]*\n$/);
    expect(status).toBe(0);
    expect(prebuilds(copy)).toEqual(both('x64'));
  });

  test('with LLM_DATADIST_PREBUILD=available makes all that there are compilers for', () => {
    const copy = copyThatBuilds();
    const { status, stderr } = prebuild(copy, [], COMPILERS, { LLM_DATADIST_PREBUILD: 'available' });
    expect({ status, stderr, made: prebuilds(copy) }).toEqual({
      status: 0,
      stderr: '',
      made: [...both('arm64'), ...both('x64')],
    });
  });

  test.each<[string, string[], NodeJS.ProcessEnv, string]>([
    [
      'there is no compiler at all, and packs nothing',
      [],
      { LLM_DATADIST_PREBUILD: 'available' },
      'there is nothing to make:\nlinux-x64 cannot be made',
    ],
    [
      'the package is to be published',
      ['x86_64-linux-gnu-g++'],
      { LLM_DATADIST_PREBUILD: 'available', npm_command: 'publish' },
      'LLM_DATADIST_PREBUILD=available is not for a package that is published:\nlinux-arm64 cannot be made',
    ],
    [
      'the variable has another value',
      COMPILERS,
      { LLM_DATADIST_PREBUILD: 'all' },
      'LLM_DATADIST_PREBUILD is "all"; it is',
    ],
  ])('fails when %s', (_, compilers, env, words) => {
    const copy = copyThatBuilds();
    const { status, stderr } = prebuild(copy, [], compilers, env);
    expect(stderr).toContain(`prebuild: ${words}`);
    expect({ status, made: prebuilds(copy) }).toEqual({ status: 1, made: [] });
  });

  test('refuses arguments', () => {
    const { status, stdout, stderr } = prebuild(copyThatBuilds(), ['--available']);
    expect({ status, stdout, stderr }).toEqual({
      status: 1,
      stdout: '',
      stderr: 'prebuild: unknown argument --available; there is none\n',
    });
  });
});

describe('the scripts of package.json', () => {
  let copy: string;

  beforeAll(() => {
    copy = temporaryFolder();
    fs.copyFileSync(path.join(__dirname, '..', 'package.json'), path.join(copy, 'package.json'));
    for (const name of ['prebuild', 'write-esm-doors', 'pack-scenarios']) {
      fs.mkdirSync(path.join(copy, 'scripts'), { recursive: true });
      fs.writeFileSync(
        path.join(copy, 'scripts', `${name}.js`),
        `console.log('${name} ran', ...process.argv.slice(2));`,
      );
    }
    // In place of the TypeScript compiler.
    const bin = path.join(copy, 'node_modules', '.bin');
    fs.mkdirSync(bin, { recursive: true });
    fs.writeFileSync(path.join(bin, 'tsc'), '#!/bin/sh\n', { mode: 0o755 });
  });

  const linesOf = (...args: string[]) => {
    const { status, stdout } = spawnSync('npm', args, { cwd: copy, encoding: 'utf8', env: PLAIN_ENVIRONMENT });
    expect(status).toBe(0);
    return stdout.split('\n').filter((line) => line.includes(' ran'));
  };

  test('`npm run prebuild` makes the binaries', () => {
    expect(linesOf('run', 'prebuild')).toEqual(['prebuild ran']);
  });

  test('`npm run build`, for which npm runs `prebuild` first, does not', () => {
    expect(linesOf('run', 'build')).toEqual(['write-esm-doors ran', 'pack-scenarios ran']);
  });

  test('`npm pack` compiles, and makes all binaries', () => {
    expect(linesOf('pack', '--dry-run')).toEqual(['write-esm-doors ran', 'pack-scenarios ran', 'prebuild ran']);
  });

  test('`npm pack` packs nothing when the binaries cannot be made', () => {
    const script = path.join(copy, 'scripts', 'prebuild.js');
    const text = fs.readFileSync(script, 'utf8');
    fs.writeFileSync(script, `console.error('the reason'); process.exitCode = 1;`);
    const { status, stderr } = spawnSync('npm', ['pack'], { cwd: copy, encoding: 'utf8', env: PLAIN_ENVIRONMENT });
    fs.writeFileSync(script, text);
    expect(stderr).toContain('the reason');
    expect(status).toBe(1);
    expect(fs.readdirSync(copy).filter((name) => name.endsWith('.tgz'))).toEqual([]);
  });
});

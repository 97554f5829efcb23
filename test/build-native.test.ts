import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { ElfContents } from './fixtures/elf-file';
import { PLAIN_ENVIRONMENT, buildNative, copyOfThePackage, temporaryFolder } from './fixtures/package-copy';
import { ADDON, BRIDGE, pathWith, pretendCmakeJs, pretendTool } from './fixtures/pretended-tools';

describe('build-native without the tools of a build', () => {
  test.each([
    [
      [],
      ['flock', 'make'],
      'a C++17 compiler (g++ or clang++; on Debian or Ubuntu: apt-get install g++), and CMake 3.19',
    ],
    [[], ['flock', 'g++', 'ninja'], 'with cmake-js on this host: install CMake 3.19 or later'],
    [[], ['flock', 'clang++', 'cmake'], 'install make (on Debian or Ubuntu: apt-get install make)'],
    [[], ['g++', 'make', 'cmake'], 'install flock (on Debian or Ubuntu: apt-get install util-linux)'],
    [['--gyp'], ['flock', 'python3', 'make'], 'with node-gyp on this host: install a C++17 compiler'],
    [['--gyp'], ['flock', 'g++', 'ninja', 'python3'], 'install make'],
    [['--gyp'], ['flock', 'g++', 'make', 'cmake'], 'install Python 3, which node-gyp needs'],
    [
      ['--arch', process.arch === 'x64' ? 'arm64' : 'x64', '--out', 'elsewhere'],
      ['flock', 'g++', 'make', 'cmake'],
      process.arch === 'x64' ? 'apt-get install g++-aarch64-linux-gnu' : 'apt-get install g++-x86-64-linux-gnu',
    ],
  ])('%j on a host that has only %j says in one line what to install', (args, programs, words) => {
    const { status, stdout, stderr } = buildNative(copyOfThePackage(), args, {
      PATH: pathWith(...programs),
      PYTHON: undefined,
    });
    expect(stderr).toMatch(/^build-native: the addon (for \w+ )?cannot be built with [^\n]*\n$/);
    expect(stderr).toContain(words);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  });

  test('a folder or a file without execute permission on the PATH is not taken for a compiler', () => {
    const folder = pathWith('make', 'cmake', 'flock');
    fs.mkdirSync(path.join(folder, 'g++'));
    fs.writeFileSync(path.join(folder, 'clang++'), '', { mode: 0o644 });
    expect(buildNative(copyOfThePackage(), ['--check'], { PATH: folder }).stderr).toContain('install a C++17 compiler');
  });

  test('--check says that the addon can be built, and builds nothing', () => {
    const copy = copyOfThePackage();
    const withCmake = buildNative(copy, ['--check'], { PATH: pathWith('g++', 'make', 'cmake', 'flock') });
    expect(withCmake).toMatchObject({
      status: 0,
      stdout: 'the addon can be built with cmake-js on this host\n',
      stderr: '',
    });
    const python = path.join(pathWith('python'), 'python');
    const withGyp = buildNative(copy, ['--gyp', '--check'], { PATH: pathWith('g++', 'make', 'flock'), PYTHON: python });
    expect(withGyp).toMatchObject({
      status: 0,
      stdout: 'the addon can be built with node-gyp on this host\n',
      stderr: '',
    });
    expect(fs.existsSync(path.join(copy, 'build'))).toBe(false);
  });
});

const cmakeTools = () => ({ PATH: pathWith('g++', 'make', 'cmake', 'flock') });

describe('build-native refuses', () => {
  const foreign = process.arch === 'x64' ? 'arm64' : 'x64';

  test.each([
    [['--fast'], `Unknown option '--fast'`],
    [
      ['--sanitize', 'address,memory,dust', '--out', 'x'],
      'there is no sanitizer memory, dust; there are address, leak',
    ],
    [['--arch', 'sparc', '--out', 'x'], 'there is no build for sparc; there are x64, arm64'],
    [['--arch', foreign], 'such a build needs --out DIR'],
    [['--sanitize', 'thread'], 'such a build needs --out DIR'],
  ])('%j', (args, words) => {
    const { status, stdout, stderr } = buildNative(copyOfThePackage(), args);
    expect(stderr).toContain(`build-native: ${words}`);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  });
});

describe('build-native with build tools that fail', () => {
  test('asks for `npm ci` when the development dependencies are not installed', () => {
    const copy = copyOfThePackage();
    const { status, stderr } = buildNative(copy, [], cmakeTools());
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: `build-native: cmake-js is not installed in ${path.join(copy, 'node_modules')}: run \`npm ci\` first\n`,
    });
  });

  test('reports the exit code of the tool', () => {
    const copy = copyOfThePackage();
    pretendTool(copy, 'cmake-js/bin/cmake-js', 'process.exit(7)');
    const { status, stderr } = buildNative(copy, [], cmakeTools());
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: 'build-native: cmake-js configure failed (exit code 7); its own messages are above\n',
    });
  });

  test('reports the signal that ended the tool', () => {
    const copy = copyOfThePackage();
    pretendTool(copy, 'cmake-js/bin/cmake-js', `process.kill(process.pid, 'SIGKILL')`);
    expect(buildNative(copy, [], cmakeTools()).stderr).toContain('cmake-js configure failed (SIGKILL)');
  });

  test.each([[ADDON], [BRIDGE]])('reports a build that leaves no %s behind', (name) => {
    const copy = copyOfThePackage();
    pretendCmakeJs(copy);
    const tool = path.join(copy, 'node_modules/cmake-js/bin/cmake-js');
    const made = path.join(copy, 'build', 'Release', 'cmake', 'Release', name);
    fs.appendFileSync(tool, `if (args[0] === 'build') require('node:fs').rmSync(${JSON.stringify(made)});`);
    const { status, stderr } = buildNative(copy, [], cmakeTools());
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: `build-native: the build ended without an error, but ${made} is not there\n`,
    });
  });

  test.each<[string, ElfContents, ElfContents, string]>([
    ['for another processor', { machine: 'sparc' }, {}, `${ADDON} was built for machine 2, not for ${process.arch}`],
    ['with a bridge for another one', {}, { machine: 'sparc' }, `${BRIDGE} was built for machine 2`],
    ['without the entry of an addon', { exported: [] }, {}, `${ADDON} does not export napi_register_module_v1`],
    ['without the entry of the bridge', {}, { exported: ['x'] }, `${BRIDGE} does not export llm_datadist_bridge`],
  ])('reports a build %s', (_, addon, bridge, words) => {
    const copy = copyOfThePackage();
    pretendCmakeJs(copy, addon, bridge);
    const { status, stderr } = buildNative(copy, [], cmakeTools());
    expect(stderr).toContain(`build-native: ${words}`);
    expect(status).toBe(1);
  });

  test('reports an addon that the loader refuses', () => {
    const copy = copyOfThePackage();
    pretendCmakeJs(copy);
    const { status, stderr } = buildNative(copy, [], cmakeTools());
    expect(stderr).toContain('build-native: loading the addon failed (exit code 1); its own messages are above\n');
    expect(status).toBe(1);
  });

  describe('with node-gyp', () => {
    const gypTools = () => ({ PATH: pathWith('g++', 'make', 'python3', 'flock') });
    let copy: string;
    let node: string;

    beforeAll(() => {
      copy = copyOfThePackage();
      pretendTool(copy, 'node-gyp/bin/node-gyp.js', 'process.exit(1)');
      // The headers are looked for beside the program that runs the script.
      node = path.join(copy, 'bin', 'node');
      fs.mkdirSync(path.dirname(node));
      fs.copyFileSync(process.execPath, node, fs.constants.COPYFILE_FICLONE);
    });

    test('says that there are no headers beside this Node when the build fails for want of them', () => {
      const { status, stdout, stderr } = buildNative(copy, ['--gyp'], gypTools(), node);
      expect(stdout).toBe(
        `configure --loglevel warn --arch=${process.arch} --release -- -Dwarnings_as_errors=1 -Dsanitize=\n`,
      );
      expect(stderr).toContain(`there are no Node headers in ${path.join(copy, 'include', 'node')}, so node-gyp`);
      expect(stderr).toContain('set npm_config_nodedir');
      expect(status).toBe(1);
    });

    test('uses the headers beside this Node, without a download', () => {
      fs.mkdirSync(path.join(copy, 'include', 'node'), { recursive: true });
      fs.writeFileSync(path.join(copy, 'include', 'node', 'node_api.h'), '');
      const { stdout, stderr } = buildNative(copy, ['--gyp'], gypTools(), node);
      expect(stdout).toContain(` --nodedir=${copy} --`);
      expect(stderr).toBe('build-native: node-gyp configure failed (exit code 1); its own messages are above\n');
    });

    test('leaves the choice of the headers to npm_config_nodedir when that is set', () => {
      const { stdout, stderr } = buildNative(
        copy,
        ['--gyp'],
        { ...gypTools(), npm_config_nodedir: '/elsewhere' },
        node,
      );
      expect(stdout).not.toContain('--nodedir');
      expect(stderr).not.toContain('headers');
    });
  });
});

describe('build-native for another processor', () => {
  const [arch, target] = process.arch === 'x64' ? (['arm64', 'aarch64'] as const) : (['x64', 'x86_64'] as const);
  let copy: string;

  /** The compiler that CMake is told of, as the tree remembers it. */
  const compilerOf = (folder: string): unknown => {
    const request = JSON.parse(fs.readFileSync(path.join(folder, 'cmake', 'request.json'), 'utf8')) as object;
    return (request as { compiler?: unknown }).compiler;
  };

  beforeAll(() => {
    copy = copyOfThePackage();
    pretendCmakeJs(copy);
  });

  test('takes the newest cross compiler, and says that it did not load what it built', () => {
    const tools = pathWith('g++', 'make', 'cmake', 'flock', `${target}-linux-gnu-g++-9`, `${target}-linux-gnu-g++-12`);
    const out = path.join(copy, 'foreign');
    const { status, stdout, stderr } = buildNative(copy, ['--arch', arch, '--out', out], { PATH: tools });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain(`--CDCMAKE_SYSTEM_NAME=Linux --CDCMAKE_SYSTEM_PROCESSOR=${target}`);
    expect(stdout).toContain(
      `built ${ADDON} and ${BRIDGE} in foreign with cmake-js (for ${arch}: not loaded on this host, which is ${process.arch})\n`,
    );
    expect(compilerOf(out)).toBe(`${target}-linux-gnu-g++-12`);
    expect(fs.readdirSync(out).sort()).toEqual(['cmake', ADDON, BRIDGE, 'lock'].sort());
  });

  test('takes CXX when that makes code for it, and empties the tree of another compiler', () => {
    const out = path.join(copy, 'chosen');
    const chosen = path.join(temporaryFolder(), 'compiler');
    fs.writeFileSync(chosen, `#!/bin/sh\necho ${target}-linux-gnu\n`, { mode: 0o755 });
    const PATH = pathWith('g++', 'make', 'cmake', 'flock', `${target}-linux-gnu-g++`);
    buildNative(copy, ['--arch', arch, '--out', out], { PATH });
    const left = path.join(out, 'cmake', 'left-behind');
    fs.writeFileSync(left, '');
    buildNative(copy, ['--arch', arch, '--out', out], { PATH });
    expect(fs.existsSync(left)).toBe(true);
    buildNative(copy, ['--arch', arch, '--out', out], { PATH, CXX: `${chosen} -O1` });
    expect(compilerOf(out)).toBe(`${chosen} -O1`);
    expect(fs.existsSync(left)).toBe(false);
  });

  test('leaves a binary that did not change as it is', () => {
    const out = path.join(copy, 'twice');
    const tools = { PATH: pathWith('g++', 'make', 'cmake', 'flock', `${target}-linux-gnu-g++`) };
    const inode = () => fs.statSync(path.join(out, ADDON)).ino;
    buildNative(copy, ['--arch', arch, '--out', out], tools);
    const first = inode();
    buildNative(copy, ['--arch', arch, '--out', out], tools);
    expect(inode()).toBe(first);
    fs.writeFileSync(path.join(out, ADDON), 'changed');
    buildNative(copy, ['--arch', arch, '--out', out], tools);
    expect(inode()).not.toBe(first);
  });

  test('does not build into one folder twice at a time', async () => {
    const spoilt = copyOfThePackage();
    const log = path.join(spoilt, 'log');
    const asked = path.join(spoilt, 'asked');
    fs.writeFileSync(asked, '');
    const chosen = path.join(spoilt, 'compiler');
    fs.writeFileSync(chosen, `#!/bin/sh\necho >>'${asked}'\necho ${target}-linux-gnu\n`, { mode: 0o755 });
    pretendCmakeJs(spoilt);
    // Each build asks the compiler before it waits for its turn. The first to build goes on when the other has asked too,
    // and half a second later, in which nothing keeps the other from building but the lock.
    fs.appendFileSync(
      path.join(spoilt, 'node_modules/cmake-js/bin/cmake-js'),
      `;const { appendFileSync } = require('node:fs');
       const sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
       const wasFirst = !require('node:fs').existsSync(${JSON.stringify(log)});
       appendFileSync(${JSON.stringify(log)}, 'in ');
       while (wasFirst && readFileSync(${JSON.stringify(asked)}).length < 3) sleep(10);
       if (wasFirst) sleep(500);
       appendFileSync(${JSON.stringify(log)}, 'out ');`,
    );
    const env = { ...PLAIN_ENVIRONMENT, PATH: `${pathWith('g++', 'make', 'cmake', 'flock')}:/bin`, CXX: chosen };
    const args = [path.join(spoilt, 'scripts', 'build-native.js'), '--arch', arch, '--out', path.join(spoilt, 'out')];
    const builds = [1, 2].map(() => once(spawn(process.execPath, args, { env }), 'exit'));
    expect(await Promise.all(builds)).toEqual([
      [0, null],
      [0, null],
    ]);
    // Each configures and builds.
    expect(fs.readFileSync(log, 'utf8')).toBe('in out '.repeat(4));
  });
});

import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Worker } from 'node:worker_threads';

const root = path.join(__dirname, '..');
const { version } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string };
const exported = { version, napiVersion: 8 };

// A jest worker forces colours, and Node prints a warning when the host asks for none at the same time.
const plainEnvironment: NodeJS.ProcessEnv = { ...process.env, FORCE_COLOR: undefined, npm_config_nodedir: undefined };

const copies: string[] = [];

afterAll(() => {
  for (const copy of copies) {
    fs.rmSync(copy, { recursive: true });
  }
});

/** A copy of what the native build reads, so that a test can spoil it and the checkout's build/ stays as it is. */
function copyOfThePackage(): string {
  const copy = fs.mkdtempSync(path.join(os.tmpdir(), 'llm-datadist-native-'));
  copies.push(copy);
  for (const name of ['package.json', 'CMakeLists.txt', 'binding.gyp', 'native', 'scripts/build-native.js']) {
    fs.cpSync(path.join(root, name), path.join(copy, name), { recursive: true });
  }
  return copy;
}

function linkDependencies(copy: string): void {
  fs.symlinkSync(path.join(root, 'node_modules'), path.join(copy, 'node_modules'));
}

/** Puts a program of a build tool in the place where the script looks for it; it prints its arguments and ends so. */
function pretendTool(copy: string, program: string, ending: string): void {
  const file = path.join(copy, 'node_modules', program);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(path.join(copy, 'node_modules', program.split('/')[0]!, 'package.json'), '{}');
  fs.writeFileSync(file, `console.log(process.argv.slice(2).join(' ')); ${ending}`);
}

/** A folder for the PATH that holds these programs only; none of them is ever run. */
function pathWith(...programs: string[]): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'llm-datadist-path-'));
  copies.push(folder);
  for (const program of programs) {
    fs.writeFileSync(path.join(folder, program), '', { mode: 0o755 });
  }
  return folder;
}

function build(copy: string, args: string[], env: NodeJS.ProcessEnv = {}, node = process.execPath) {
  const script = path.join(copy, 'scripts', 'build-native.js');
  return spawnSync(node, [script, ...args], { encoding: 'utf8', env: { ...plainEnvironment, ...env } });
}

describe('build-native without the tools of a build', () => {
  test.each([
    [[], ['make'], 'a C++17 compiler (g++ or clang++; on Debian or Ubuntu: apt-get install g++), and CMake 3.19'],
    [[], ['g++', 'ninja'], 'with cmake-js on this host: install CMake 3.19 or later'],
    [[], ['clang++', 'cmake'], 'install make (on Debian or Ubuntu: apt-get install make)'],
    [['--gyp'], ['python3', 'make'], 'with node-gyp on this host: install a C++17 compiler'],
    [['--gyp'], ['g++', 'ninja', 'python3'], 'install make'],
    [['--gyp'], ['g++', 'make', 'cmake'], 'install Python 3, which node-gyp needs'],
  ])('%j on a host that has only %j says in one line what to install', (args, programs, words) => {
    const { status, stdout, stderr } = build(copyOfThePackage(), args, {
      PATH: pathWith(...programs),
      PYTHON: undefined,
    });
    expect(stderr).toMatch(/^build-native: the addon cannot be built with [^\n]*\n$/);
    expect(stderr).toContain(words);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  });

  test('a folder or a file without execute permission on the PATH is not taken for a compiler', () => {
    const folder = pathWith('make', 'cmake');
    fs.mkdirSync(path.join(folder, 'g++'));
    fs.writeFileSync(path.join(folder, 'clang++'), '', { mode: 0o644 });
    expect(build(copyOfThePackage(), ['--check'], { PATH: folder }).stderr).toContain('install a C++17 compiler');
  });

  test('--check says that the addon can be built, and builds nothing', () => {
    const copy = copyOfThePackage();
    const withCmake = build(copy, ['--check'], { PATH: pathWith('g++', 'make', 'cmake') });
    expect(withCmake).toMatchObject({
      status: 0,
      stdout: 'the addon can be built with cmake-js on this host\n',
      stderr: '',
    });
    const python = path.join(pathWith('python'), 'python');
    const withGyp = build(copy, ['--gyp', '--check'], { PATH: pathWith('g++', 'make'), PYTHON: python });
    expect(withGyp).toMatchObject({
      status: 0,
      stdout: 'the addon can be built with node-gyp on this host\n',
      stderr: '',
    });
    expect(fs.existsSync(path.join(copy, 'build'))).toBe(false);
  });
});

describe('build-native with build tools that fail', () => {
  const gypTools = () => ({ PATH: pathWith('g++', 'make', 'python3') });
  const cmakeTools = () => ({ PATH: pathWith('g++', 'make', 'cmake') });

  test('refuses an argument that it does not know', () => {
    const { status, stderr } = build(copyOfThePackage(), ['--gyp', '--fast']);
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: 'build-native: unknown argument --fast; there are --gyp and --check\n',
    });
  });

  test('asks for `npm ci` when the development dependencies are not installed', () => {
    const copy = copyOfThePackage();
    const { status, stderr } = build(copy, [], cmakeTools());
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: `build-native: cmake-js is not installed in ${path.join(copy, 'node_modules')}: run \`npm ci\` first\n`,
    });
  });

  test('reports the exit code of the tool', () => {
    const copy = copyOfThePackage();
    pretendTool(copy, 'cmake-js/bin/cmake-js', 'process.exit(7)');
    const { status, stderr } = build(copy, [], cmakeTools());
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: 'build-native: cmake-js configure failed (exit code 7); its own messages are above\n',
    });
  });

  test('reports the signal that ended the tool', () => {
    const copy = copyOfThePackage();
    pretendTool(copy, 'cmake-js/bin/cmake-js', `process.kill(process.pid, 'SIGKILL')`);
    expect(build(copy, [], cmakeTools()).stderr).toContain('cmake-js configure failed (SIGKILL)');
  });

  test('reports a build that leaves no addon behind', () => {
    const copy = copyOfThePackage();
    pretendTool(copy, 'cmake-js/bin/cmake-js', '');
    const { status, stderr } = build(copy, [], cmakeTools());
    const addon = path.join(copy, 'build', 'Release', 'llm_datadist.node');
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: `build-native: the build ended without an error, but ${addon} is not there\n`,
    });
  });

  test('reports an addon that the loader refuses', () => {
    const copy = copyOfThePackage();
    pretendTool(copy, 'cmake-js/bin/cmake-js', '');
    fs.mkdirSync(path.join(copy, 'build', 'Release'), { recursive: true });
    fs.writeFileSync(path.join(copy, 'build', 'Release', 'llm_datadist.node'), 'not a library');
    const { status, stderr } = build(copy, [], cmakeTools());
    expect(stderr).toContain('build-native: loading the addon failed (exit code 1); its own messages are above\n');
    expect(status).toBe(1);
  });

  test('with CMake, removes what node-gyp left in build/ and keeps what CMake left', () => {
    const copy = copyOfThePackage();
    pretendTool(copy, 'cmake-js/bin/cmake-js', '');
    const left = path.join(copy, 'build', 'Makefile');
    fs.mkdirSync(path.dirname(left));
    fs.writeFileSync(left, '');
    build(copy, [], cmakeTools());
    expect(fs.existsSync(left)).toBe(true);
    fs.writeFileSync(path.join(copy, 'build', 'config.gypi'), '');
    build(copy, [], cmakeTools());
    expect(fs.existsSync(left)).toBe(false);
  });

  describe('with node-gyp', () => {
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
      const { status, stdout, stderr } = build(copy, ['--gyp'], gypTools(), node);
      expect(stdout).toBe('rebuild --loglevel warn --jobs max -- -Dwarnings_as_errors=1\n');
      expect(stderr).toContain(`there are no Node headers in ${path.join(copy, 'include', 'node')}, so node-gyp`);
      expect(stderr).toContain('set npm_config_nodedir');
      expect(status).toBe(1);
    });

    test('uses the headers beside this Node, without a download', () => {
      fs.mkdirSync(path.join(copy, 'include', 'node'), { recursive: true });
      fs.writeFileSync(path.join(copy, 'include', 'node', 'node_api.h'), '');
      const { stdout, stderr } = build(copy, ['--gyp'], gypTools(), node);
      expect(stdout).toContain(` --nodedir=${copy} --`);
      expect(stderr).toBe('build-native: node-gyp failed (exit code 1); its own messages are above\n');
    });

    test('leaves the choice of the headers to npm_config_nodedir when that is set', () => {
      const { stdout, stderr } = build(copy, ['--gyp'], { ...gypTools(), npm_config_nodedir: '/elsewhere' }, node);
      expect(stdout).not.toContain('--nodedir');
      expect(stderr).not.toContain('headers');
    });
  });
});

const check = build(copyOfThePackage(), ['--check']);

if (check.status !== 0) {
  test('NOT CHECKED HERE: the addon itself, because this host lacks the tools to build it', () => {
    process.stdout.write(`test/native-addon.test.ts does not build and load the addon: ${check.stderr}`);
    expect(check.stderr).toContain('cannot be built');
  });
} else {
  describe('the addon, built with CMake', () => {
    let addon: string;

    beforeAll(() => {
      const copy = copyOfThePackage();
      linkDependencies(copy);
      const { status, stdout, stderr } = build(copy, []);
      if (status !== 0) {
        throw new Error(`the native build failed:\n${stdout}${stderr}`);
      }
      expect(stdout).toContain('built build/Release/llm_datadist.node with cmake-js\n');
      addon = path.join(copy, 'build', 'Release', 'llm_datadist.node');
    }, 60_000);

    test('has the version of the package and the Node-API version as its only exports', () => {
      expect({ ...jest.requireActual<object>(addon) }).toEqual(exported);
    });

    test('loads in the main thread and, twice, in each of two workers', async () => {
      const load = `
        const { parentPort, workerData } = require('node:worker_threads');
        const first = require(workerData);
        delete require.cache[workerData];
        parentPort.postMessage([{ ...first }, { ...require(workerData) }]);`;
      const loadedBy = async (worker: Worker): Promise<unknown> => {
        const seen = [once(worker, 'message'), once(worker, 'exit')] as Promise<unknown[]>[];
        const [message, ended] = await Promise.all(seen);
        expect(ended).toEqual([0]);
        return message![0];
      };
      const workers = [1, 2].map(() => new Worker(load, { eval: true, workerData: addon }));
      expect(await Promise.all(workers.map(loadedBy))).toEqual([
        [exported, exported],
        [exported, exported],
      ]);
      expect({ ...jest.requireActual<object>(addon) }).toEqual(exported);
    });

    test('loads in a child process that ends with 0 and prints nothing', () => {
      const child = spawnSync(process.execPath, ['-e', 'require(process.argv[1])', addon], {
        encoding: 'utf8',
        env: plainEnvironment,
      });
      expect(child).toMatchObject({ status: 0, stdout: '', stderr: '' });
    });

    test('needs nothing of Node but Node-API 8, and no library of the vendor', () => {
      const nodeApi = jest.requireActual<{ symbols: { v8: Record<string, string[]> } }>('node-api-headers');
      const version8 = Object.values(nodeApi.symbols.v8).flat();
      const { stdout } = spawnSync('nm', ['--dynamic', '--undefined-only', '--format=posix', addon], {
        encoding: 'utf8',
      });
      const needed = stdout.split('\n').map((line) => line.split(' ')[0]!);
      const fromNode = needed.filter((symbol) => /^(napi|node|v8|uv)_|^_ZN?K?(2v8|4node)/.test(symbol));
      expect(fromNode).toContain('napi_define_properties');
      expect(fromNode.filter((symbol) => !version8.includes(symbol))).toEqual([]);
      expect(needed.filter((symbol) => /^acl|llm_datadist|hixl/.test(symbol))).toEqual([]);
    });
  });
}

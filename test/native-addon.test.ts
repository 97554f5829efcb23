import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Worker } from 'node:worker_threads';
import {
  PLAIN_ENVIRONMENT,
  buildNative,
  buildableCopy,
  copyOfThePackage,
  temporaryFolder,
} from './fixtures/package-copy';
import { ADDON, BRIDGE } from './fixtures/pretended-tools';

const root = path.join(__dirname, '..');
const { version } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string };

const check = buildNative(copyOfThePackage(), ['--check']);

if (check.status !== 0) {
  test('NOT CHECKED HERE: the addon itself, because this host lacks the tools to build it', () => {
    process.stdout.write(`test/native-addon.test.ts does not build and load the addon: ${check.stderr}`);
    expect(check.stderr).toContain('cannot be built');
  });
} else {
  describe('the addon, built with CMake', () => {
    let copy: string;
    let addon: string;
    let bridge: string;

    beforeAll(() => {
      copy = buildableCopy();
      const { status, stdout, stderr } = buildNative(copy, [], { CMAKE_EXPORT_COMPILE_COMMANDS: 'ON' });
      if (status !== 0) {
        throw new Error(`the native build failed:\n${stdout}${stderr}`);
      }
      expect(stdout).toContain(`built ${ADDON} and ${BRIDGE} in build/Release with cmake-js\n`);
      addon = path.join(copy, 'build', 'Release', ADDON);
      bridge = path.join(copy, 'build', 'Release', BRIDGE);
    }, 300_000);

    const load = () => jest.requireActual<{ version: string; napiVersion: number }>(addon);

    test('has the version of the package and the Node-API version', () => {
      expect(load()).toMatchObject({ version, napiVersion: 8 });
    });

    test('loads in the main thread and, twice, in each of two workers', async () => {
      const program = `
        const { parentPort, workerData } = require('node:worker_threads');
        const first = require(workerData);
        delete require.cache[workerData];
        parentPort.postMessage([first.version, require(workerData).version]);`;
      const loadedBy = async (worker: Worker): Promise<unknown> => {
        const seen = [once(worker, 'message'), once(worker, 'exit')] as Promise<unknown[]>[];
        const [message, ended] = await Promise.all(seen);
        expect(ended).toEqual([0]);
        return message![0];
      };
      const workers = [1, 2].map(() => new Worker(program, { eval: true, workerData: addon }));
      expect(await Promise.all(workers.map(loadedBy))).toEqual([
        [version, version],
        [version, version],
      ]);
      expect(load().version).toBe(version);
    });

    test('loads in a child process that ends with 0 and prints nothing', () => {
      const child = spawnSync(process.execPath, ['-e', 'require(process.argv[1])', addon], {
        encoding: 'utf8',
        env: PLAIN_ENVIRONMENT,
      });
      expect(child).toMatchObject({ status: 0, stdout: '', stderr: '' });
    });

    const symbolsOf = (file: string, which: string): string[] => {
      const { stdout } = spawnSync('nm', ['--dynamic', which, '--format=posix', file], { encoding: 'utf8' });
      return stdout.split('\n').flatMap((line) => (line === '' ? [] : [line.split(' ')[0]!]));
    };

    test('needs nothing of Node but Node-API 8, and no library of the vendor', () => {
      const nodeApi = jest.requireActual<{ symbols: { v8: Record<string, string[]> } }>('node-api-headers');
      const version8 = Object.values(nodeApi.symbols.v8).flat();
      const needed = symbolsOf(addon, '--undefined-only');
      const fromNode = needed.filter((symbol) => /^(napi|node|v8|uv)_|^_ZN?K?(2v8|4node)/.test(symbol));
      expect(fromNode).toContain('napi_define_properties');
      expect(fromNode.filter((symbol) => !version8.includes(symbol))).toEqual([]);
      expect(needed.filter((symbol) => /^acl|llm_datadist|hixl/.test(symbol))).toEqual([]);
    });

    test('exports what Node, the addon and other copies of it look for, and nothing that another library could get hold of', () => {
      expect(symbolsOf(addon, '--defined-only').sort()).toEqual([
        'llm_datadist_process',
        'napi_register_module_v1',
        'node_api_module_get_api_version_v1',
      ]);
      expect(symbolsOf(bridge, '--defined-only')).toEqual(['llm_datadist_bridge']);
    });

    test('names no folder of this machine', () => {
      const holding = [addon, bridge].filter((file) => {
        const text = fs.readFileSync(file, 'latin1');
        return [copy, root].some((folder) => text.includes(folder));
      });
      expect(holding).toEqual([]);
    });

    describe('and the older hosts that it must load on', () => {
      const checkGlibc = (...files: string[]) =>
        spawnSync(process.execPath, [path.join(root, 'scripts', 'check-glibc.js'), ...files], { encoding: 'utf8' });

      test('neither binary needs a newer glibc or libstdc++ than they have', () => {
        const { status, stdout } = checkGlibc(addon, bridge);
        expect(stdout).not.toContain('is the limit');
        expect(status).toBe(0);
      });

      const { glibcVersionRuntime } = (process.report.getReport() as { header: { glibcVersionRuntime: string } })
        .header;
      const [, minor = 0] = glibcVersionRuntime.split('.').map(Number);

      if (minor >= 34) {
        test('without native/glibc_floor.cc they would, and that shows', () => {
          const folder = temporaryFolder();
          const source = path.join(folder, 'plain.cc');
          fs.writeFileSync(source, '#include <dlfcn.h>\nextern "C" void* Open() { return dlopen("x", RTLD_NOW); }\n');
          const make = (output: string, ...sources: string[]) => {
            const file = path.join(folder, output);
            const flags = ['-shared', '-fPIC', '-ffunction-sections', '-fdata-sections', '-Wl,--gc-sections'];
            const compiled = spawnSync(process.env.CXX ?? 'g++', [...flags, ...sources, '-o', file], {
              encoding: 'utf8',
            });
            expect(compiled).toMatchObject({ status: 0, stderr: '' });
            return file;
          };
          const plain = checkGlibc(make('plain.so', source));
          expect(plain.stdout).toContain('needs dlopen of libc.so.6 at version GLIBC_2.34; GLIBC_2.28 is the limit');
          expect(plain.status).toBe(1);
          const lowered = checkGlibc(make('lowered.so', source, path.join(root, 'native', 'glibc_floor.cc')));
          expect(lowered.stdout).not.toContain('is the limit');
          expect(lowered.status).toBe(0);
        });
      }
    });

    describe('and node-gyp use', () => {
      /** What a build tool tells the compiler and the linker, without what each brings along of its own. */
      interface Flags {
        readonly defines: readonly string[];
        readonly compiler: readonly string[];
        readonly linker: readonly string[];
        readonly sources: readonly string[];
      }

      const OWN_DEFINES =
        /^(BUILDING_NODE_EXTENSION|NODE_GYP_MODULE_NAME|USING_\w+_SHARED|V8_DEPRECATION_WARNINGS|_LARGEFILE_SOURCE|_FILE_OFFSET_BITS|\w+_EXPORTS)\b/;
      // -O3 is Node's own choice under node-gyp; exceptions and RTTI are what compilers do where nobody says otherwise.
      const OWN_FLAGS = ['-O3', '-fPIC', '-fexceptions', '-frtti'];

      const sortedFlags = (words: readonly string[], folder: string): Flags => {
        const plain = words.map((word) =>
          word
            .replace(/^'(.*)'$/, '$1')
            .replaceAll('\\"', '"')
            .replaceAll(folder, ''),
        );
        const defines = plain.filter((word) => word.startsWith('-D')).map((word) => word.slice(2));
        return {
          defines: defines.filter((name) => !OWN_DEFINES.test(name)).sort(),
          compiler: [...new Set(plain.filter((word) => /^-[fWstgO]/.test(word) && !word.startsWith('-Wl,')))]
            .filter((word) => !OWN_FLAGS.includes(word))
            .sort(),
          linker: plain.filter((word) => word.startsWith('-Wl,') && !/soname|start-group|end-group/.test(word)).sort(),
          sources: plain.filter((word) => word.endsWith('.cc')).sort(),
        };
      };

      const wordsOf = (text: string): string[] => text.split(/[\s\\]+(?!")/).filter((word) => word !== '');

      const cmakeFlags = (target: string): Flags => {
        const tree = path.join(copy, 'build', 'Release', 'cmake');
        const commands = JSON.parse(fs.readFileSync(path.join(tree, 'compile_commands.json'), 'utf8')) as {
          command: string;
          file: string;
        }[];
        const own = commands.filter(({ command }) => command.includes(`CMakeFiles/${target}.dir/`));
        const ninja = path.join(tree, 'build.ninja');
        const link = fs.existsSync(ninja)
          ? new RegExp(`^build Release/${target}\\.[\\s\\S]*?LINK_FLAGS = (.*)$`, 'm').exec(
              fs.readFileSync(ninja, 'utf8'),
            )![1]!
          : fs.readFileSync(path.join(tree, 'CMakeFiles', `${target}.dir`, 'link.txt'), 'utf8');
        const [first] = own;
        const words = first!.command.split(/\s+/).filter((word) => !word.endsWith('.cc'));
        return sortedFlags([...words, ...wordsOf(link), ...own.map(({ file }) => file)], `${copy}/`);
      };

      let gyp: string;

      beforeAll(() => {
        gyp = buildableCopy();
        // Headers that set no flags: what is left is this package's.
        const headers = path.join(temporaryFolder(), 'include', 'node');
        fs.mkdirSync(headers, { recursive: true });
        fs.writeFileSync(path.join(headers, 'common.gypi'), '{}');
        const program = path.join(root, 'node_modules', 'node-gyp', 'bin', 'node-gyp.js');
        const nodeDir = `--nodedir=${path.resolve(headers, '../..')}`;
        const args = [program, 'configure', '--release', nodeDir, '--', '-Dwarnings_as_errors=1'];
        const { status, stderr } = spawnSync(process.execPath, args, {
          cwd: gyp,
          encoding: 'utf8',
          env: PLAIN_ENVIRONMENT,
        });
        if (status !== 0) throw new Error(`node-gyp configure failed:\n${stderr}`);
      }, 60_000);

      const gypFlags = (target: string): Flags => {
        const text = fs.readFileSync(path.join(gyp, 'build', `${target}.target.mk`), 'utf8');
        const block = (name: string) => new RegExp(`^${name} :=((?:.*\\\\\\n)*.*)$`, 'm').exec(text)![1]!;
        const blocks = ['DEFS_Release', 'CFLAGS_Release', 'CFLAGS_CC_Release', 'LDFLAGS_Release'].map(block);
        const objects = Array.from(block('OBJS').matchAll(/\$\(TARGET\)\/(\S+)\.o/g), ([, source]) => `${source!}.cc`);
        return sortedFlags([...wordsOf(blocks.join('\n')), ...objects], `${gyp}/`);
      };

      test.each(['llm_datadist', 'llm_datadist_bridge'])('the same sources, defines and flags for %s', (target) => {
        const flags = cmakeFlags(target);
        expect(gypFlags(target)).toEqual(flags);
        expect(flags.sources.length).toBeGreaterThan(1);
        expect(flags.compiler).toContain('-Werror');
        expect(flags.linker).toContain('-Wl,-z,nodelete');
        expect(flags.defines).toContain('NDEBUG');
      });
    });
  });
}

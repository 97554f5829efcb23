import { fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkDuration } from '../bench/native-event-loop';
import { NATIVE_MEASUREMENTS } from '../bench/native-measurements';
import { observe } from '../bench/observation';
import type { Line } from '../bench/result';
import { compile, requireCompiler } from '../bench/rivals/compiler';
import { PythonRival } from '../bench/rivals/python';
import { inPackage } from '../bench/sources';
import { Unavailable } from '../bench/unavailable';
import { compileBench } from './fixtures/compiled-bench';

const { missingTools } = jest.requireActual<{ missingTools: () => string[] }>('../scripts/native-tools');

const ROOT = resolve(__dirname, '..');
const NAMES = NATIVE_MEASUREMENTS.map(({ name }) => name);
const HELD = new Map(NATIVE_MEASUREMENTS.map(({ name, held }) => [name, held]));

const folder = mkdtempSync(join(tmpdir(), 'bench-native-'));
const compiled = compileBench();

afterAll(() => {
  rmSync(folder, { recursive: true });
  compiled.remove();
});

const { LLM_DATADIST_ADDON: chosen = '' } = process.env;
const addon = chosen === '' ? join(ROOT, 'build', 'Release', 'llm_datadist.node') : resolve(chosen);
const isNativeHere = existsSync(addon) && missingTools().length === 0;
const isPythonHere = ['/usr/bin/python3', '/usr/include/pybind11/pybind11.h'].every((path) => existsSync(path));

function bench(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [compiled.program, ...args], {
    cwd: ROOT,
    encoding: 'utf8',
    // A jest worker forces colours, and Node prints a warning when the host asks for none at the same time.
    env: { ...process.env, FORCE_COLOR: undefined, ...env },
  });
  return { status, stdout, stderr };
}

function linesOf(stdout: string): Line[] {
  return (JSON.parse(stdout) as { results: Line[] }).results;
}

/** A program that takes the place of another one. */
function pretend(name: string, script: string): string {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return path;
}

describe('the native suites', () => {
  test('measure what they are held to, or say why they do not', () => {
    const { status, stdout, stderr } = bench(['--native', '--json', '--rounds', '1', '--milliseconds', '1']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const lines = linesOf(stdout);
    for (const name of NAMES) {
      const ofSuite = lines.filter(({ suite }) => suite === name);
      const measured = ofSuite.filter((line) => 'goal' in line).map((line) => line.name);
      const unmeasured = ofSuite.filter(({ verdict }) => verdict === 'not measured').map((line) => line.name);
      const isHere = isNativeHere && (name !== 'python' || isPythonHere);
      expect([name, measured, unmeasured]).toEqual(isHere ? [name, HELD.get(name), []] : [name, [], HELD.get(name)]);
    }
  }, 300_000);

  test('are not measured where the addon was not built', () => {
    const env = { LLM_DATADIST_ADDON: join(folder, 'none.node') };
    const { status, stdout } = bench(['--native', '--json'], env);
    expect(status).toBe(0);
    const reason = `the addon was not built, there is no ${env.LLM_DATADIST_ADDON}: npm run build:native`;
    expect(linesOf(stdout)).toEqual(
      [...HELD].flatMap(([suite, held]) => held.map((name) => ({ suite, name, verdict: 'not measured', reason }))),
    );
    const table = bench(['--only', 'native-pulls', '--check'], env);
    expect(table.status).toBe(1);
    expect(table.stdout).toMatch(/^1,024 block pairs, one by one +not measured$/m);
    expect(table.stdout).toContain(`not measured: ${reason}\n`);
  });

  test('are not measured where there is no compiler', () => {
    const env = { CXX: join(folder, 'no-compiler'), LLM_DATADIST_ADDON: join(ROOT, 'package.json') };
    const { status, stdout } = bench(['--only', 'python'], env);
    expect(status).toBe(0);
    expect(stdout).toContain(`not measured: there is no C++ compiler, ${env.CXX} cannot be run`);
  });

  test('end the program when their process does not come to its end', () => {
    const env = { NODE_OPTIONS: `--require ${join(folder, 'end.js')}` };
    writeFileSync(join(folder, 'end.js'), "if (process.send) process.once('message', () => process.abort());");
    const { status, stderr } = bench(['--only', 'crossing'], env);
    expect(status).toBe(2);
    expect(stderr).toContain('the process of the suite crossing ended with signal SIGABRT');
  });

  test('end the program when their process fails after it has answered', () => {
    const env = {
      LLM_DATADIST_ADDON: join(folder, 'none.node'),
      NODE_OPTIONS: `--require ${join(folder, 'fail.js')}`,
    };
    writeFileSync(join(folder, 'fail.js'), "if (process.send) process.once('exit', () => process.exit(3));");
    const { status, stderr } = bench(['--only', 'native-pulls'], env);
    expect(status).toBe(2);
    expect(stderr).toContain('the process of the suite native-pulls ended with exit code 3');
  });

  // Without a compiler they are not measured, whatever the addon is.
  if (missingTools().length === 0) {
    test('fail as their process does', () => {
      // The manifest of the package is no addon.
      const { status, stderr } = bench(['--only', 'crossing'], { LLM_DATADIST_ADDON: join(ROOT, 'package.json') });
      expect(status).toBe(2);
      expect(stderr).toContain('the process of the suite crossing ended with exit code 1');
    });
  }

  test('are those that there are', async () => {
    const child = fork(compiled.nativeProcess, { cwd: ROOT, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const ended = once(child, 'close');
    child.send({ suite: 'speed', rounds: 1, milliseconds: 1 });
    expect(await ended).toEqual([1, null]);
    expect(stderr).toContain('RangeError: there is no native suite "speed"');
  });

  test('are worth nothing when transfers do not last as long as they should', async () => {
    await expect(checkDuration(() => Promise.resolve())).rejects.toThrow(/a transfer took [\d.]+ ms, not 50/);
    await checkDuration(() => sleep(60));
  });

  test('are run by the program only, and in the folder of the package', () => {
    const { status, stderr } = spawnSync(process.execPath, [compiled.nativeProcess], { encoding: 'utf8' });
    expect(status).toBe(1);
    expect(stderr).toContain('run by a process of benchmarks only');
    expect(inPackage('package.json')).toBe(join(ROOT, 'package.json'));
    const elsewhere = spawnSync(process.execPath, [compiled.program, '--only', 'crossing'], {
      cwd: folder,
      encoding: 'utf8',
    });
    expect(elsewhere.status).toBe(2);
    expect(elsewhere.stderr).toContain('is not the folder of the package: run the benchmarks with npm run bench');
  });
});

describe('an observation', () => {
  test('sees that the event loop is held up', async () => {
    const watch = { ended: false };
    const heldUp = (async () => {
      while (!watch.ended) {
        // Now and then, which a median would not see.
        for (let i = 0; i < 4; i++) await sleep(1);
        const end = performance.now() + 40;
        while (performance.now() < end);
      }
    })();
    const { loopDelay, timerDelay, readFile, lookup } = await observe(400);
    watch.ended = true;
    await heldUp;
    expect(Math.min(loopDelay, timerDelay)).toBeGreaterThan(30);
    expect(Math.min(readFile, lookup)).toBeGreaterThan(0);
  });
});

describe('the compiler of the rivals', () => {
  const source = join(folder, 'source.cc');
  const output = join(folder, 'made');
  const { CXX } = process.env;

  afterEach(() => {
    if (CXX === undefined) delete process.env.CXX;
    else process.env.CXX = CXX;
  });

  /** A compiler that writes a line for each time that it was called. */
  const counting = (name: string, ending: string) =>
    pretend(name, `echo called >> ${folder}/${name}.calls; while [ "$1" != -o ]; do shift; done; ${ending}`);
  const callsOf = (name: string) => readdirSync(folder).filter((file) => file.startsWith(`${name}.calls`)).length;

  test('is called again only when something has changed', () => {
    process.env.CXX = counting('cxx', 'mv "$2.before" "$2" 2>/dev/null || echo made > "$2"');
    writeFileSync(source, 'one');
    compile(output, ['-DONE'], [source]);
    rmSync(join(folder, 'cxx.calls'));
    compile(output, ['-DONE'], [source]);
    expect(callsOf('cxx')).toBe(0);
    for (const change of [
      () => undefined,
      () => {
        writeFileSync(source, 'two');
      },
      () => {
        rmSync(output);
      },
    ]) {
      change();
      compile(output, ['-DTWO'], [source]);
      expect(callsOf('cxx')).toBe(1);
      rmSync(join(folder, 'cxx.calls'));
    }
  });

  test('is quoted when it refuses, and leaves nothing behind', () => {
    process.env.CXX = counting('refusing', 'echo half > "$2"; echo "source.cc:1: no such thing" >&2; exit 1');
    const before = readdirSync(folder);
    expect(() => {
      compile(join(folder, 'never'), [], [source]);
    }).toThrow(/could not make .*never: source\.cc:1: no such thing/);
    expect(readdirSync(folder).filter((name) => !before.includes(name))).toEqual(['refusing.calls']);
  });

  test('is asked for where it is missing', () => {
    process.env.CXX = join(folder, 'no-compiler');
    expect(requireCompiler).toThrow(Unavailable);
    process.env.CXX = pretend('some-compiler', 'exit 0');
    expect(requireCompiler).not.toThrow();
  });
});

describe('Python', () => {
  const standIn = {
    outDir: folder,
    libraryFolder: folder,
    library: join(folder, 'none.so'),
    runtime: join(folder, 'none.so'),
    addon: join(folder, 'none.node'),
    driver: join(folder, 'none'),
  };

  const header = join(folder, 'pybind11.h');
  const suffix = '.of-a-test.so';
  const { CXX } = process.env;

  beforeAll(() => {
    // Nothing is made of it here.
    process.env.CXX = pretend('module-compiler', 'while [ "$1" != -o ]; do shift; done; echo module > "$2"');
    writeFileSync(header, '');
    mkdirSync(join(folder, 'include'));
    writeFileSync(join(folder, 'include', 'Python.h'), '');
  });

  afterAll(() => {
    if (CXX === undefined) delete process.env.CXX;
    else process.env.CXX = CXX;
    for (const name of readdirSync(join(ROOT, 'build', 'rivals'))) {
      if (name.includes(suffix)) rmSync(join(ROOT, 'build', 'rivals', name));
    }
  });

  /** A Python that says where its headers are, and does something else than what it is told to. */
  const pretendPython = (name: string, instead: string) =>
    pretend(name, `if [ "$1" = -c ]; then echo ${folder}/include; echo ${suffix}; exit; fi\n${instead}`);

  test.each([
    ['none at all', () => join(folder, 'no-python'), /no-python cannot be run \(.*ENOENT.*\): install python3-dev/],
    ['one that fails', () => pretend('ill', 'echo no sysconfig >&2; exit 1'), /\(no sysconfig\): install python3-dev/],
    ['one without headers', () => pretend('bare', `echo ${folder}; echo .so`), /no .*Python\.h: install python3-dev/],
  ])('is unavailable where there is %s', (_what, make, problem) => {
    const python = make();
    expect(() => new PythonRival(standIn, { python, pybind11: header })).toThrow(problem);
    expect(() => new PythonRival(standIn, { python, pybind11: header })).toThrow(Unavailable);
  });

  test('is unavailable where there is no pybind11', () => {
    const places = { python: pretendPython('alone', 'exit 1'), pybind11: join(folder, 'none.h') };
    expect(() => new PythonRival(standIn, places)).toThrow(
      /there is no .*none\.h: install python3-dev and pybind11-dev/,
    );
  });

  test('is told what to do, and says how long it took', async () => {
    const python = pretendPython('telling', `while read line; do echo "$line" >> ${folder}/told; echo 12.5; done`);
    const rival = new PythonRival(standIn, { python, pybind11: header });
    expect(await rival.pulling('in-flight', 1024)(64)).toBe(12.5);
    expect(await rival.pulling('serial', 1)(3)).toBe(12.5);
    await rival.close();
    expect(readFileSync(join(folder, 'told'), 'utf8')).toBe('in-flight 1024 64\nserial 1 3\n');
  });

  test('is quoted when it ends before its time', async () => {
    const python = pretendPython('ending', 'read line; exec >&-; echo "RuntimeError: status 5" >&2; exit 1');
    const rival = new PythonRival(standIn, { python, pybind11: header });
    await expect(rival.pulling('blocking', 1)(1)).rejects.toThrow(
      'Python ended before it had an answer: RuntimeError: status 5',
    );
    await rival.close();
  });
});

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildStandIn, buildVariant, NoCompilerError, StandInBuildError, VARIANT_NAMES } from './build';
import type { StandInVariant } from './build';
import { describeStandIn } from './scene';

const SCRIPT = join(__dirname, 'build.js');

const folders: string[] = [];

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** A folder with a program that does as a compiler does, only quicker, and writes a line for each of its results. */
function pretendCompiler(): { readonly cxx: string; readonly outDir: string; readonly results: () => string[] } {
  const folder = mkdtempSync(join(tmpdir(), 'stand-in-build-'));
  folders.push(folder);
  const log = join(folder, 'log');
  const cxx = join(folder, 'compiler');
  writeFileSync(log, '');
  writeFileSync(
    cxx,
    `#!/bin/sh
case "$*" in *-dumpmachine*) echo x86_64-linux-gnu; exit;; esac
while [ "$1" != -o ]; do shift; done
sleep 0.01
echo result > "$2"
echo "\${2%.*}" >> "${log}"
`,
  );
  chmodSync(cxx, 0o755);
  return { cxx, outDir: join(folder, 'out'), results: () => readFileSync(log, 'utf8').split('\n').filter(Boolean) };
}

async function runScript(...args: string[]): Promise<unknown> {
  const child = spawn(process.execPath, [SCRIPT, ...args.slice(1)], {
    env: { ...process.env, CXX: args[0] },
    stdio: 'ignore',
  });
  return (await once(child, 'exit'))[0];
}

describe('the build of the stand-in', () => {
  test('makes each result once, also when two processes build at the same time', async () => {
    const { cxx, outDir, results } = pretendCompiler();
    const codes = await Promise.all([1, 2].map(() => runScript(cxx, `--out=${outDir}`)));
    expect(codes).toEqual([0, 0]);
    expect(results().length).toBeGreaterThan(20);
    expect(new Set(results()).size).toBe(results().length);
    expect(existsSync(join(outDir, 'lock'))).toBe(false);
  });

  test('makes nothing when nothing has changed, and everything when the flags have', () => {
    const { cxx, outDir, results } = pretendCompiler();
    buildStandIn({ cxx, outDir });
    const { length } = results();
    buildStandIn({ cxx, outDir });
    expect(results().length).toBe(length);
    buildStandIn({ cxx, outDir, sanitize: ['undefined', 'address'] });
    expect(results().length).toBe(2 * length);
  });

  test('makes what is missing', () => {
    const { cxx, outDir, results } = pretendCompiler();
    const { library } = buildStandIn({ cxx, outDir });
    const { length } = results();
    rmSync(library);
    rmSync(join(outDir, 'main.stamp'));
    buildStandIn({ cxx, outDir });
    expect(results().slice(length)).toEqual([library]);
  });

  test('does not wait for a process that has died while it was building', () => {
    const { cxx, outDir, results } = pretendCompiler();
    buildStandIn({ cxx, outDir });
    const dead = spawnSync(process.execPath, ['--version']).pid;
    writeFileSync(join(outDir, 'lock'), String(dead));
    buildStandIn({ cxx, outDir, sanitize: ['thread'] });
    expect(new Set(results()).size).toBeLessThan(results().length);
  });

  test('says so where there is no compiler', () => {
    const { outDir } = pretendCompiler();
    expect(() => buildStandIn({ cxx: '/nowhere/g++', outDir })).toThrow(NoCompilerError);
    expect(() => buildStandIn({ cxx: 'false', outDir })).toThrow('the compiler false cannot be run (exit code 1)');
  });

  test('tells what the compiler says', () => {
    const { cxx, outDir } = pretendCompiler();
    writeFileSync(
      cxx,
      '#!/bin/sh\ncase "$*" in *-dumpmachine*) echo x86_64;; *) echo "a mistake" >&2; exit 1;; esac\n',
    );
    expect(() => buildStandIn({ cxx, outDir })).toThrow(StandInBuildError);
    expect(() => buildStandIn({ cxx, outDir })).toThrow('a mistake');
    expect(existsSync(join(outDir, 'lock'))).toBe(false);
  });

  test('refuses a variant and an argument that it does not know', () => {
    expect(() => buildVariant('none' as StandInVariant)).toThrow('there is no variant none');
    const { status, stderr } = spawnSync(process.execPath, [SCRIPT, '--fast'], { encoding: 'utf8' });
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: 'stand-in: unknown argument --fast; there are --sanitize= and --out=\n',
    });
  });
});

describeStandIn('variants of the libraries for the tests of a loader', (build) => {
  const { RTLD_NOW, RTLD_LOCAL } = constants.dlopen;

  /** The loader's words about a library, in a process of its own; empty when it has loaded it. */
  const loadersWords = (library: string): string => {
    const script = `
      try { process.dlopen({ exports: {} }, process.argv[1], ${RTLD_NOW | RTLD_LOCAL}); }
      catch (error) { process.stdout.write(error.message); }`;
    return spawnSync(process.execPath, ['-e', script, library], { encoding: 'utf8' }).stdout;
  };

  /** Node refuses what is no addon, once it is loaded. */
  const LOADED = 'Module did not self-register';

  const symbolsOf = (library: string) =>
    spawnSync('nm', ['--dynamic', '--defined-only', library], { encoding: 'utf8' }).stdout;

  test.each<[StandInVariant, string, RegExp | string]>([
    ['older', 'libllm_engine.so', LOADED],
    ['no-initialize', 'libllm_datadist.so', LOADED],
    ['no-elf', 'libllm_datadist.so', /invalid ELF header|file too short/],
    ['other-machine', 'libllm_datadist.so', /wrong ELF|cannot open|ELF file/],
    ['acl-rt', 'libllm_datadist.so', LOADED],
    ['no-runtime', 'libllm_datadist.so', 'libascendcl.so: cannot open shared object file'],
    ['old-runtime', 'libllm_datadist.so', LOADED],
    ['no-memcpy', 'libllm_datadist.so', LOADED],
  ])('%s: %s is %p', (name, file, words) => {
    expect(VARIANT_NAMES).toContain(name);
    expect(loadersWords(join(buildVariant(name).libraryFolder, file))).toMatch(words);
  });

  test('the library itself loads', () => {
    expect(loadersWords(build.library)).toMatch(LOADED);
  });

  test('an older library lacks what came later, and has the rest', () => {
    const symbols = symbolsOf(join(buildVariant('older').libraryFolder, 'libllm_engine.so'));
    for (const method of ['SetRole', 'RegisterKvCache', 'PushKvBlocks']) expect(symbols).not.toContain(method);
    for (const method of ['Initialize', 'PullKvBlocks', 'AscendString']) expect(symbols).toContain(method);
  });

  test('the other variants lack what they are called after', () => {
    const without = (name: StandInVariant, file: string) => symbolsOf(join(buildVariant(name).libraryFolder, file));
    expect(without('no-initialize', 'libllm_datadist.so')).not.toContain('Initialize');
    expect(without('no-memcpy', 'libascendcl.so')).not.toMatch(/aclrtMemcpy$/m);
    expect(without('no-memcpy', 'libascendcl.so')).toMatch(/aclrtMalloc$/m);
    expect(without('old-runtime', 'libascendcl.so')).not.toMatch(/aclsysGetVersionStr$/m);
    expect(without('acl-rt', 'libacl_rt.so')).toMatch(/aclrtMemcpy$/m);
  });
});

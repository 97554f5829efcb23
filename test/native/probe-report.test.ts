import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NativeProbe } from '../../lib';
import { built } from './fixtures/built';
import { runChild } from './fixtures/child';
import type { ChildOptions } from './fixtures/child';
import { compileLibrary, temporaryFolder } from './fixtures/compiler';

/** The report of a process in a condition of children/probe.js. */
async function report(condition: string, options: ChildOptions & { limitMs?: number } = {}): Promise<NativeProbe> {
  const { limitMs, ...rest } = options;
  const args = [condition, ...(limitMs === undefined ? [] : [String(limitMs)])];
  const child = await runChild('probe.js', args, { journal: false, ...rest });
  expect(child).toMatchObject({ code: 0, signal: null });
  return JSON.parse(child.stdout) as NativeProbe;
}

/** A program that notes each of its starts, and then does what the shell commands say. */
function program(commands: string): { path: string; starts: () => number } {
  const folder = temporaryFolder();
  const path = join(folder, 'program');
  const log = join(folder, 'starts');
  writeFileSync(log, '');
  writeFileSync(path, `#!/bin/sh\necho started >> '${log}'\n${commands}\n`, { mode: 0o755 });
  return { path, starts: () => readFileSync(log, 'utf8').split('\n').length - 1 };
}

describe('the other process', () => {
  test('that does not end is killed at the limit, though its library ignores SIGTERM', async () => {
    const folder = temporaryFolder();
    const library = join(folder, 'libllm_datadist.so');
    compileLibrary(library, ['libraries/spins.cc']);
    copyFileSync(built().runtime, join(folder, 'libascendcl.so'));
    const env = { LLM_DATADIST_LIBRARY: library };
    const { available, reason, limitMs, attempts } = await report('plain', { env, limitMs: 1500 });
    expect({ available, limitMs }).toEqual({ available: false, limitMs: 1500 });
    expect(reason).toMatch(/took longer than 1500 ms and was killed/);
    expect(attempts).toEqual([{ path: built().addon, error: reason }]);
  });

  test.each([
    ['no-node', /cannot be started: .*ENOENT/],
    ['not-executable', /cannot be started: .*EACCES/],
    ['few-descriptors', /cannot be started: .*(EMFILE|too many open files)/i],
  ])('that cannot be started is reported: %s', async (condition, words) => {
    const options = condition === 'few-descriptors' ? { under: ['prlimit', '--nofile=64'] } : {};
    const { available, reason, addonPath } = await report(condition, options);
    expect({ available, addonPath }).toEqual({ available: false, addonPath: built().addon });
    expect(reason).toMatch(words);
  });

  test('is not needed where no descriptor is left to look at the addon', async () => {
    const { available, reason, attempts } = await report('no-descriptors', { under: ['prlimit', '--nofile=64'] });
    expect({ available, reason }).toEqual({ available: false, reason: 'the addon cannot be loaded' });
    expect(attempts).toEqual([{ path: built().addon, error: expect.stringContaining('EMFILE') as string }]);
  });

  test('is not one where no process may be started (EAGAIN)', async () => {
    // A limit of processes does not hold for root, and so needs another user; the child has that of the test otherwise.
    const { available, reason } = await report('plain', {
      flags: ['--require', join(__dirname, 'children', 'no-fork.js')],
    });
    expect(available).toBe(false);
    expect(reason).toMatch(/cannot be started: .*EAGAIN/);
  });

  test('has none of the flags that this one was started with', async () => {
    const env = { NODE_OPTIONS: '--inspect=127.0.0.1:0' };
    expect(await report('plain', { env })).toMatchObject({ available: true });
    expect(await report('plain', { flags: ['--inspect=127.0.0.1:0'] })).toMatchObject({ available: true });
  });
});

describe('the permission model of Node', () => {
  // Node 24 has it without the word.
  const flag = process.allowedNodeEnvironmentFlags.has('--permission') ? '--permission' : '--experimental-permission';
  const reading = [flag, '--allow-fs-read=*'];
  const addons = process.allowedNodeEnvironmentFlags.has('--allow-addons') ? ['--allow-addons'] : [];

  test('that allows no process: reported, and none is started', async () => {
    const { available, reason } = await report('plain', { flags: [...reading, ...addons] });
    expect(available).toBe(false);
    expect(reason).toMatch(/permission model .*--allow-child-process/);
  });

  if (addons.length > 0) {
    test('that allows no addon: reported', async () => {
      const { available, reason, attempts } = await report('plain', { flags: [...reading, '--allow-child-process'] });
      expect({ available, reason }).toEqual({ available: false, reason: 'the addon cannot be loaded' });
      expect(attempts).toEqual([{ path: built().addon, error: expect.stringMatching(/addon/i) as string }]);
    });
  }

  test('that allows no look at the files: reported', async () => {
    const folders = [join(__dirname, 'children'), tmpdir()].map((folder) => `--allow-fs-read=${folder}/*`);
    const { available, attempts } = await report('plain', {
      flags: [flag, ...folders, '--allow-child-process', ...addons],
    });
    expect(available).toBe(false);
    expect(attempts).toEqual([{ path: built().addon, error: expect.stringMatching(/restricted/) as string }]);
  });
});

describe('a program that is not Node', () => {
  test('and says so (single-executable application) is not started again', async () => {
    const application = program('exit 0');
    const env = { PRETENDED_APPLICATION: application.path };
    const { available, reason } = await report('single-executable', { env });
    expect(available).toBe(false);
    expect(reason).toMatch(/single-executable application/);
    expect(application.starts()).toBe(0);
  });

  test('and does not say so is started once, and no second time by itself', async () => {
    // As a packed program: whatever its arguments are, it runs the same script, which asks.
    const script = join(__dirname, 'children', 'probe.js');
    const application = program(`exec '${process.execPath}' '${script}' application 20000 >&2`);
    const env = { PRETENDED_APPLICATION: application.path };
    const { available, reason } = await report('application', { env, limitMs: 60_000 });
    expect(available).toBe(false);
    // Its own report says why it went no further.
    expect(reason).toMatch(/ended with exit code 0\..*was started by probeNative\(\) itself/);
    expect(application.starts()).toBe(1);
  });

  test('and is Electron is started as Node', async () => {
    const electron = program(`[ "$ELECTRON_RUN_AS_NODE" = 1 ] || exit 3\nexec '${process.execPath}' "$@"`);
    const env = { PRETENDED_ELECTRON: electron.path };
    expect(await report('electron', { env })).toMatchObject({ available: true });
    expect(electron.starts()).toBe(1);
  });
});

test.each([
  ['LLM_DATADIST_EXIT_TIMEOUT', 'soon', /LLM_DATADIST_EXIT_TIMEOUT.*whole number.*"soon"/],
  ['LLM_DATADIST_BACKEND', 'hccl', /LLM_DATADIST_BACKEND.*"hccl"/],
])('a wrong value of %s is reported', async (name, value, words) => {
  const { available, reason } = await report('plain', { env: { [name]: value } });
  expect(available).toBe(false);
  expect(reason).toMatch(words);
});

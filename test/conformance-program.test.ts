import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { compileLib } from './fixtures/compiled-lib';
import { MeetingPlace } from './fixtures/meeting-place';
import { handWritten, RECORDINGS } from './fixtures/recordings';

/** Processes are started here, on machines that have other things to do. */
jest.setTimeout(120_000);

const program = compileLib('cli/conformance');
const lib = dirname(dirname(program.path));
const folder = mkdtempSync(join(tmpdir(), 'conformance-'));
let place: MeetingPlace;
beforeAll(async () => {
  place = await MeetingPlace.open();
});
afterAll(async () => {
  await place.close();
  rmSync(folder, { recursive: true });
  program.remove();
});

/** Writes a file of the folder. @returns its path */
function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const recorded = (name: string) => readFileSync(join(RECORDINGS, 'scenarios', `${name}.json`), 'utf8');
const requiring = (path: string) => `require(${JSON.stringify(path)})`;
const obedient = write(
  'obedient.js',
  `module.exports = ${requiring(join(__dirname, 'fixtures/obedient-backend.js'))}(
    ${requiring(join(lib, 'backend/mock/mock-backend.js'))}.MockBackend);`,
);

function start(...argv: string[]) {
  const child = spawn(process.execPath, [program.path, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
  const printed = { stdout: '', stderr: '' };
  child.stdout.on('data', (piece: Buffer) => (printed.stdout += piece.toString()));
  child.stderr.on('data', (piece: Buffer) => (printed.stderr += piece.toString()));
  const ended = once(child, 'close').then(([code, signal]: unknown[]) => ({ code, signal, ...printed }));
  return { child, ended };
}
const run = (...argv: string[]) => start(...argv).ended;

/** One node whose init is an order. */
const ordered = (name: string, order: string) =>
  JSON.stringify({
    name,
    nodes: { P: { role: 'PROMPT', clusterId: '1' } },
    steps: [{ op: 'init', node: 'P', options: { 'llm.DeviceId': '0', 'test.do': order }, status: 'LLM_SUCCESS' }],
  });

describe('the conformance program', () => {
  test('ends with the exit code and the counts on the last line', async () => {
    const good = write('a.json', recorded('push-blocks'));
    expect(await run('--jsonl', good)).toMatchObject({ code: 0, stdout: '1 passed, 0 failed\n', stderr: '' });
    const bad = write('b.json', recorded('push-blocks').replace('"cacheId": "1"', '"cacheId": "4"'));
    const failed = await run('--jsonl', bad);
    expect(failed).toMatchObject({ code: 1, stderr: '' });
    expect(failed.stdout).toMatch(/cacheId: expected 4, got 1\n0 passed, 1 failed\n$/);
  });

  test('says so when it is installed without recordings', async () => {
    const { code, stdout, stderr } = await run();
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^conformance: there are no recordings in .*: name some with --dir or --jsonl\n/);
  });

  test.each([
    ['each scenario in a process of its own', []],
    ['all in one process', ['--processes', 'none']],
  ])('says once why the native backend cannot be had, with %s', async (_title, argv) => {
    // The compiled copy has no addon in any place where one is looked for.
    const files = ['pull-blocks', 'push-blocks', 'unlink-dead-peer'].map((name) =>
      write(`${name}.json`, recorded(name)),
    );
    const { code, stdout, stderr } = await run('--backend', 'native', ...argv, ...files.flatMap((f) => ['--jsonl', f]));
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^conformance: The native backend cannot be loaded; tried:\n.*llm_datadist\.node: /);
    expect(stderr.match(/cannot be loaded/g)).toHaveLength(1);
  });
});

describe('the conformance program with each scenario in a process of its own', () => {
  test('makes of the recordings what it makes of them in one process', async () => {
    const result = await run('--dir', join(RECORDINGS, 'scenarios'), '--processes', 'scenario', '--jobs', '2');
    expect(result).toEqual({ code: 0, signal: null, stdout: `${handWritten.length} passed, 0 failed\n`, stderr: '' });
  });

  test('goes on when one of them crashes, and repeats what that one printed', async () => {
    const orders = [
      'print and that is well',
      'mutter to standard output;print to standard error;signal SIGSEGV',
      '',
      'exit 7',
      '',
    ];
    const files = orders.map((order, i) => write(`${i}.json`, ordered(`s${i}`, order)));
    const result = await run('--backend', obedient, ...files.flatMap((file) => ['--jsonl', file]));
    expect(result.stdout.split('\n')).toEqual([
      's1: step 0 (init on P): process: expected LLM_SUCCESS, got the process of P was ended by SIGSEGV ' +
        '(stderr: to standard error)',
      's3: step 0 (init on P): process: expected LLM_SUCCESS, got the process of P ended with exit code 7',
      '3 passed, 2 failed',
      '',
    ]);
    expect(result.code).toBe(1);
    expect(result.stderr.trim().split('\n').sort()).toEqual(['s1: P: to standard error', 's1: P: to standard output']);
  });

  test('ends one that exceeds the limit', async () => {
    const file = write('hang.json', ordered('hang', `meet ${place.path} limit`));
    const { code, stdout } = await run('--backend', obedient, '--jsonl', file, '--limit', '0.5');
    expect(code).toBe(1);
    expect(stdout).toMatch(/^hang: step 0 .* got the process of P gave no answer within 0.5 s\n0 passed, 1 failed\n$/);
  });
});

describe('no process is left when the conformance program', () => {
  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'is ended by %s, however busy the processes are',
    async (signal) => {
      const waiting = write('waiting.json', ordered('waiting', `meet ${place.path} waiting-${signal}`));
      const busy = write('busy.json', ordered('busy', `block ${place.path} busy-${signal}`));
      const { child, ended } = start('--backend', obedient, '--jobs', '2', '--jsonl', waiting, '--jsonl', busy);
      const visitors = [await place.visitor(`waiting-${signal}`), await place.visitor(`busy-${signal}`)];
      child.kill(signal);
      expect(await ended).toMatchObject({ code: null, signal });
      await Promise.all(visitors.map(({ gone }) => gone));
    },
  );

  test('is killed', async () => {
    const waiting = write('waiting.json', ordered('waiting', `meet ${place.path} orphan`));
    const { child, ended } = start('--backend', obedient, '--jsonl', waiting);
    const { gone } = await place.visitor('orphan');
    child.kill('SIGKILL');
    expect(await ended).toMatchObject({ code: null, signal: 'SIGKILL' });
    await gone;
  });

  test('finds that nobody reads what it prints', async () => {
    const first = write('first.json', ordered('first', `meet ${place.path} first;exit 1`));
    const second = write('second.json', ordered('second', `meet ${place.path} second`));
    const { child, ended } = start('--backend', obedient, '--jobs', '2', '--jsonl', first, '--jsonl', second);
    const [{ release }, { gone }] = [await place.visitor('first'), await place.visitor('second')];
    child.stdout.destroy();
    release();
    expect(await ended).toMatchObject({ code: 1, signal: null, stderr: '' });
    await gone;
  });
});

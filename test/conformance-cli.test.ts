import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { main } from '../lib/cli/conformance';
import { compileLib } from './fixtures/compiled-lib';
import { handWritten, random, RECORDINGS } from './fixtures/recordings';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'conformance-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** Runs the command and keeps what it prints. */
async function run(...argv: string[]) {
  const lines: string[] = [];
  const errors: string[] = [];
  const out = { log: (line: string) => lines.push(line), error: (line: string) => errors.push(line) };
  return { code: await main(argv, out), lines, errors: errors.join('\n') };
}

const recorded = (name: string) => readFileSync(join(RECORDINGS, 'scenarios', `${name}.json`), 'utf8');

/** Writes a file of the folder. @returns its path */
function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe('the conformance command', () => {
  test('runs all recordings unless told otherwise', async () => {
    const { code, lines, errors } = await run('--backend', 'mock');
    expect(lines).toEqual([`${handWritten.length + random.length} passed, 0 failed`]);
    expect([code, errors]).toEqual([0, '']);
  });

  test('runs the folders and files that it is given, and takes the mock unless told otherwise', async () => {
    write('a.json', recorded('pull-blocks'));
    write('b.json', recorded('push-blocks'));
    const lines = readFileSync(join(RECORDINGS, 'random.jsonl'), 'utf8').split('\n').slice(0, 3).join('\n');
    const result = await run('--dir', folder, '--jsonl', write('r.jsonl', lines), '--jsonl', write('s.jsonl', lines));
    expect(result).toEqual({ code: 0, lines: ['8 passed, 0 failed'], errors: '' });
  });

  test('prints what differs, then the counts, and ends with 1', async () => {
    write('a.json', recorded('pull-blocks').replace('"status": "LLM_SUCCESS"', '"status": "LLM_LINK_BUSY"'));
    write('b.json', recorded('push-blocks'));
    expect(await run('--dir', folder)).toEqual({
      code: 1,
      lines: ['pull-blocks: step 0 (init on P): status: expected LLM_LINK_BUSY, got LLM_SUCCESS', '1 passed, 1 failed'],
      errors: '',
    });
  });

  test('adds the message of an exception that was not expected', async () => {
    write('a.json', recorded('link-closed-port').replace('"LLM_LINK_FAILED"', '"LLM_SUCCESS"'));
    const { lines } = await run('--dir', folder);
    expect(lines[0]).toMatch(/^link-closed-port: step \d+ \(link on \w+\): .* \(linkClusters failed: LLM_LINK_FAILED/);
  });

  test('counts a malformed scenario as failed, and runs the others', async () => {
    const path = write('a.json', '{"name": "a", "nodes": {}, "steps": [{"op": "pull"}]}');
    write('b.json', recorded('push-blocks'));
    const { code, lines } = await run('--dir', folder);
    expect(code).toBe(1);
    expect(lines[0]).toContain(`${path}: step 0: unknown op 'pull'`);
    expect(lines.slice(1)).toEqual(['1 passed, 1 failed']);
  });

  test('prints its usage when asked', async () => {
    const { code, lines, errors } = await run('--help');
    expect([code, errors]).toEqual([0, '']);
    for (const option of ['--backend mock|native', '--dir', '--jsonl', '--guards']) expect(lines[0]).toContain(option);
  });

  test.each([
    ['an unknown option', ['--quick'], /Unknown option '--quick'/],
    ['a stray argument', ['mock'], /Unexpected argument 'mock'/],
    ['a missing value', ['--dir'], /'--dir <value>' argument missing/],
    ['an unknown backend', ['--backend', 'cuda'], /unknown backend "cuda"; there are mock and native/],
    ['a backend of the prototype', ['--backend', 'toString'], /unknown backend "toString"/],
    [
      'a file that is not there',
      ['--jsonl', join(tmpdir(), 'no such file.jsonl')],
      /no such file\.jsonl: cannot be read: ENOENT/,
    ],
    [
      'a folder that is not there',
      ['--dir', join(tmpdir(), 'no such folder')],
      /no such folder: cannot be read: ENOENT/,
    ],
  ])('refuses %s', async (_title, argv, message) => {
    const { code, lines, errors } = await run(...argv);
    expect([code, lines]).toEqual([2, []]);
    expect(errors).toMatch(message);
  });

  test('asks for scenarios where there are no recordings', async () => {
    const exists = jest.spyOn(fs, 'existsSync').mockReturnValueOnce(false);
    const { code, lines, errors } = await run();
    exists.mockRestore();
    expect([code, lines]).toEqual([2, []]);
    expect(errors).toMatch(/^conformance: there are no recordings in .*recordings: name some with --dir or --jsonl\n/);
    expect((await run('--help')).code).toBe(0);
  });

  test('does not hide its own faults', async () => {
    const exists = jest.spyOn(fs, 'existsSync').mockImplementationOnce(() => {
      throw new RangeError('a bug');
    });
    await expect(run()).rejects.toThrow(new RangeError('a bug'));
    exists.mockRestore();
  });

  test('refuses to run nothing', async () => {
    const { code, lines, errors } = await run('--dir', folder);
    expect([code, lines]).toEqual([2, []]);
    expect(errors).toContain(`there are no scenarios in ${folder}`);
    expect((await run('--jsonl', write('empty.jsonl', '\n'))).code).toBe(2);
  });
});

describe('as a program', () => {
  const program = compileLib('cli/conformance');
  afterAll(() => {
    program.remove();
  });
  const spawn = (...argv: string[]) => spawnSync(process.execPath, [program.path, ...argv], { encoding: 'utf8' });

  test('it ends with the exit code and the counts on the last line', () => {
    const good = write('a.json', recorded('push-blocks'));
    expect(spawn('--jsonl', good)).toMatchObject({ status: 0, stdout: '1 passed, 0 failed\n', stderr: '' });
    const bad = write('b.json', recorded('push-blocks').replace('"cacheId": "1"', '"cacheId": "4"'));
    const failed = spawn('--jsonl', bad);
    expect(failed).toMatchObject({ status: 1, stderr: '' });
    expect(failed.stdout).toMatch(/cacheId: expected 4, got 1\n0 passed, 1 failed\n$/);
  });

  test('it says why the native backend cannot be had', () => {
    // The compiled copy has no addon in any place where one is looked for.
    const { status, stdout, stderr } = spawn(
      '--backend',
      'native',
      '--jsonl',
      write('a.json', recorded('push-blocks')),
    );
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^conformance: The native backend cannot be loaded; tried:\n.*llm_datadist\.node: /);
  });

  test('it says so when it is installed without recordings', () => {
    const { status, stdout, stderr } = spawn();
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^conformance: there are no recordings in .*: name some with --dir or --jsonl\n/);
  });
});

describe('--guards', () => {
  test('prints the recorded calls that a guard refuses', async () => {
    write('a.json', recorded('hixl-same-memory-twice'));
    expect(await run('--guards', '--dir', folder)).toEqual({
      code: 0,
      lines: [
        'hixl-same-memory-twice: step 4 (register): refused by memory-overlap, recorded LLM_SUCCESS',
        '1 recorded calls of 1 scenarios are refused by guards',
      ],
      errors: '',
    });
  });

  test('names malformed scenarios, and ends with 1', async () => {
    const path = write('a.json', '[]');
    const { code, lines } = await run('--guards', '--dir', folder);
    expect(code).toBe(1);
    expect(lines).toEqual([
      `${path}: expected an object, found []`,
      '0 recorded calls of 0 scenarios are refused by guards',
    ]);
  });
});

import fs from 'node:fs';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { main } from '../lib/cli/conformance';
import { parseOptions } from '../lib/cli/conformance/options';
import { ProcessOutput } from '../lib/cli/conformance/process-output';
import type { Scenario } from '../lib/conformance';
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

  describe('takes the mock where the environment says that mocks find each other', () => {
    const { LLM_DATADIST_MOCK_FABRIC: before } = process.env;
    afterEach(() => {
      if (before === undefined) delete process.env.LLM_DATADIST_MOCK_FABRIC;
      else process.env.LLM_DATADIST_MOCK_FABRIC = before;
    });

    test.each([
      ['memory', 'mock', 'none'],
      ['tcp', 'mock-tcp', 'node'],
    ])('in %s', (fabric, backend, processes) => {
      process.env.LLM_DATADIST_MOCK_FABRIC = fabric;
      expect(parseOptions([])).toMatchObject({ backend, processes });
      expect(parseOptions(['--backend', 'native'])).toMatchObject({ backend: 'native' });
    });

    test('and refuses what makes no sense', async () => {
      process.env.LLM_DATADIST_MOCK_FABRIC = 'udp';
      const { code, errors } = await run();
      expect(code).toBe(2);
      expect(errors).toMatch(/LLM_DATADIST_MOCK_FABRIC.*'memory' or 'tcp'/);
    });
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

  test('runs only the scenarios that are asked for', async () => {
    const count = async (...argv: string[]) => (await run(...argv)).lines;
    const passed = (matches: (scenario: Scenario) => boolean) => [
      `${[...handWritten, ...random].filter(matches).length} passed, 0 failed`,
    ];
    const has = (tag: string) => (scenario: Scenario) => scenario.tags.includes(tag);
    expect(await count('--tag', 'blocks')).toEqual(passed(has('blocks')));
    expect(await count('--tag', 'blocks', '--tag', 'layers')).toEqual(
      passed((s) => has('blocks')(s) || has('layers')(s)),
    );
    expect(await count('--not-tag', 'random', '--not-tag', 'init')).toEqual(
      passed((s) => !has('random')(s) && !has('init')(s)),
    );
    expect(await count('--name', 'pull-blocks', '--name', 'unlink', '--not-tag', 'quirk')).toEqual(
      passed((s) => /pull-blocks|unlink/.test(s.name) && !has('quirk')(s)),
    );
  });

  test('does not lose a malformed scenario among those that are not asked for', async () => {
    write('a.json', '[]');
    write('b.json', recorded('push-blocks'));
    expect((await run('--dir', folder, '--name', 'nothing')).lines.at(-1)).toBe('0 passed, 1 failed');
  });

  test('says so when no scenario is what is asked for', async () => {
    const { code, lines, errors } = await run('--name', 'no such name');
    expect([code, lines]).toEqual([2, []]);
    expect(errors).toMatch(/none of the \d+ scenarios has the tags and the name that are asked for/);
  });

  test('runs a module of backends', async () => {
    const module = write('mine.js', 'module.exports = () => ({ name: "half a backend" });');
    const path = write('a.json', recorded('push-blocks'));
    const { code, lines } = await run('--backend', module, '--processes', 'none', '--jsonl', path);
    expect(code).toBe(1);
    expect(lines[0]).toMatch(
      /^push-blocks: step 0 \(start on P\): exception: expected an instance, got TypeError.*initialize/,
    );
    expect(lines.slice(1)).toEqual(['0 passed, 1 failed']);
    const broken = await run('--backend', write('b.js', ''), '--processes', 'none', '--jsonl', path);
    expect([broken.code, broken.lines]).toEqual([2, []]);
    expect(broken.errors).toMatch(/^conformance: The module .*b\.js makes no backends/);
  });

  test('prints its usage when asked', async () => {
    const { code, lines, errors } = await run('--help');
    expect([code, errors]).toEqual([0, '']);
    const options = [
      '--backend mock|mock-tcp|native|FILE',
      '--dir',
      '--jsonl',
      '--tag',
      '--not-tag',
      '--name',
      '--processes',
    ];
    for (const option of [...options, '--limit', '--jobs', '--guards']) expect(lines[0]).toContain(option);
  });

  test.each([
    ['an unknown option', ['--quick'], /Unknown option '--quick'/],
    ['a stray argument', ['mock'], /Unexpected argument 'mock'/],
    ['a missing value', ['--dir'], /'--dir <value>' argument missing/],
    [
      'an unknown backend',
      ['--backend', 'cuda'],
      /unknown backend "cuda"; there are mock, mock-tcp and native, and modules/,
    ],
    ['a backend of the prototype', ['--backend', 'toString'], /unknown backend "toString"/],
    ['a module that is not there', ['--backend', 'no such.js'], /--backend no such\.js: there is no such file/],
    ['unknown processes', ['--processes', 'all'], /--processes all: neither none nor scenario nor node/],
    ['processes in which mocks are lonely', ['--processes', 'node'], /--processes node: mock instances of different/],
    ['a limit that is none', ['--processes', 'scenario', '--limit', '1m'], /--limit 1m: not a number of seconds/],
    ['a limit of nothing', ['--processes', 'scenario', '--limit', '0'], /--limit 0: not a number of seconds/],
    ['a limit beyond timers', ['--processes', 'scenario', '--limit', '1e9'], /--limit 1e9: not a number of seconds/],
    ['no jobs', ['--processes', 'scenario', '--jobs', '0'], /--jobs 0: not a whole number from 1 to 1024/],
    ['half a job', ['--processes', 'scenario', '--jobs', '1.5'], /--jobs 1\.5: not a whole number/],
    ['a limit without processes', ['--limit', '5'], /--limit has no meaning without processes/],
    ['jobs without processes', ['--jobs', '2'], /--jobs has no meaning without processes/],
    ['processes with guards', ['--guards', '--processes', 'scenario'], /--processes has no meaning with --guards/],
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

test('of what a talkative scenario prints the last lines are kept, until they are taken', () => {
  const output = new ProcessOutput();
  for (let i = 0; i < 130; i++) output.add(`line ${i}`, 'loud', ['P', 'D']);
  output.add('hush', 'quiet', ['P']);
  expect(output.take('loud')).toEqual(Array.from({ length: 100 }, (_, i) => `loud: P, D: line ${i + 30}`));
  expect(output.take('loud')).toEqual([]);
  expect(output.take('quiet')).toEqual(['quiet: P: hush']);
});

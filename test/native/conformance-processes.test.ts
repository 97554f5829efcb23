import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compileLib } from '../fixtures/compiled-lib';
import { RECORDINGS } from '../fixtures/recordings';
import { built } from './fixtures/built';
import { setCommand } from './standin/control';

// Each scenario starts a process.
jest.setTimeout(300_000);

const compiled = compileLib('cli/conformance');
const folder = mkdtempSync(join(tmpdir(), 'native-conformance-'));

afterAll(() => {
  compiled.remove();
  rmSync(folder, { recursive: true });
});

/** In the journal of several processes: each numbers its calls. */
const FIRST_CALL = /^\{"call":1,"method"/gm;

/** `npm run conformance -- --backend native` over the hand-written recordings with one of these texts in their names. */
function conformance(names: readonly string[], args: readonly string[], env: Readonly<Record<string, string>>) {
  const chosen = names.flatMap((name) => ['--name', name]);
  const all = [
    compiled.path,
    '--backend',
    'native',
    '--dir',
    RECORDINGS,
    '--not-tag',
    'hixl-backend',
    ...chosen,
    ...args,
  ];
  const { status, stdout, stderr } = spawnSync(process.execPath, all, {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '', ...built().env, ...env },
  });
  return { status, lines: stdout.trimEnd().split('\n'), stderr };
}

/** Two with pullBlocks and two without; of one, two and three nodes. */
const NAMES = ['late-registration-invisible', 'link-serves-both', 'finalize-twice', 'three-node-chain'];

test('each scenario passes in a process of its own', () => {
  const journal = join(folder, 'passes');
  const { status, lines, stderr } = conformance(NAMES, ['--jobs', '2'], { LLM_STANDIN_JOURNAL: journal });
  expect({ status, stderr, last: lines.at(-1) }).toEqual({ status: 0, stderr: '', last: '4 passed, 0 failed' });
  expect(readFileSync(journal, 'utf8').match(FIRST_CALL)).toHaveLength(4);
});

test('a library that ends the process fails that scenario and no other', () => {
  const { status, lines, stderr } = conformance(NAMES, ['--jobs', '2'], {
    LLM_STANDIN: setCommand('PullKvBlocks', { abort: true }),
  });
  expect({ status, last: lines.at(-1) }).toEqual({ status: 1, last: '2 passed, 2 failed' });
  const crashes = lines.filter((line) => line.includes('SIGABRT'));
  expect(crashes.map((line) => line.split(':')[0])).toEqual([
    'late-registration-invisible',
    'link-serves-both-directions',
  ]);
  for (const line of crashes) expect(line).toMatch(/step \d+ \(pullBlocks on \w+\)/);
  expect(stderr).not.toContain('conformance:');
});

test('with a process for each node every instance is the only one there', () => {
  const journal = join(folder, 'nodes');
  const unlinked = ['finalize-twice', 'init-roles', 'unsupported-calls'];
  const args = ['--processes', 'node', '--jobs', '2'];
  const { status, lines, stderr } = conformance(unlinked, args, { LLM_STANDIN_JOURNAL: journal });
  expect({ status, stderr, last: lines.at(-1) }).toEqual({ status: 0, stderr: '', last: '3 passed, 0 failed' });
  expect(readFileSync(journal, 'utf8').match(FIRST_CALL)).toHaveLength(10);
});

test('where there is no library that is said once', () => {
  const { status, lines, stderr } = conformance(NAMES, [], { LLM_DATADIST_LIBRARY: join(folder, 'nothing.so') });
  expect({ status, lines }).toEqual({ status: 2, lines: [''] });
  // Each scenario has a process of its own, which would say it again.
  expect(stderr.match(/nothing\.so: no such file/g)).toHaveLength(1);
});

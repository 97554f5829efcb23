import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { Backend } from '../lib';
import { planOf } from './interleavings/generate';
import { run } from './interleavings/interleaving';
import { main } from './interleavings/main';
import { backendOf } from './interleavings/options';
import { mockStage } from './interleavings/stages/mock';
import type { Change } from './interleavings/stages/mock';
import { tcpStage } from './interleavings/stages/tcp';
import { CALLS } from './interleavings/steps';
import { warningsDuring } from './fixtures/warnings';

const SEED = 20_261_130;
const LIMIT_MS = 600_000;
/** As many find each of the mistakes below many times. */
const MOST = 150;

/** What is wrong with the first interleaving that shows anything. */
async function firstProblems(count: number, stageOf: typeof mockStage, change?: Change): Promise<readonly string[]> {
  let problems: readonly string[] = [];
  await warningsDuring(async () => {
    for (let index = 0; index < count && problems.length === 0; index++) {
      const plan = planOf(SEED, index);
      ({ problems } = await run(plan, await stageOf(plan, SEED, change)));
    }
  });
  return problems;
}

/** Instances with one method that does something else. */
function changed(
  name: keyof Backend,
  change: (original: () => Promise<unknown>, args: unknown[], backend: Backend) => unknown,
): Change {
  return (make) => (clusterId, role) => {
    const backend = make(clusterId, role);
    const { [name]: original } = backend as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
    const replaced = (...args: unknown[]) => change(async () => await original?.apply(backend, args), args, backend);
    return Object.assign(backend, { [name]: replaced });
  };
}

test.each([
  ['in memory', mockStage, 60],
  ['over TCP', tcpStage, 15],
] as const)(
  'interleavings hold %s',
  async (_where, stageOf, count) => {
    expect(await firstProblems(count, stageOf)).toEqual([]);
  },
  LIMIT_MS,
);

describe('an interleaving finds', () => {
  test.each<[string, Change, RegExp]>([
    [
      'blocks that were reported as received and were not',
      changed('pullKvBlocks', (_original, _args, backend) => backend.free(0n).then(undefined, () => undefined)),
      /is not write \d+, but/,
    ],
    ['memory that is not given back', changed('free', () => Promise.resolve()), /^after finalize of all: .*allocated/s],
    [
      'a rejection that is no exception of the package',
      changed('pushKvBlocks', () => Promise.reject(new Error('of another kind'))),
      /: it was rejected with Error: of another kind$/,
    ],
    ['a call that does not settle', changed('write', () => new Promise(() => undefined)), /(has not settled|fail)/],
  ])(
    '%s',
    async (_what, change, message) => {
      const problems = await firstProblems(MOST, mockStage, change);
      expect(problems.join('\n')).toMatch(message);
    },
    LIMIT_MS,
  );
});

test('plans are the same for the same seed and index, and make every call', () => {
  expect(planOf(3, 5)).toEqual(planOf(3, 5));
  expect(planOf(3, 5)).not.toEqual(planOf(3, 6));
  const made = new Set<string>();
  for (let index = 0; index < 200; index++) {
    for (const step of planOf(SEED, index).steps) if ('call' in step) made.add(step.call);
  }
  expect(CALLS.filter((call) => !made.has(call))).toEqual([]);
});

describe('npm run interleavings', () => {
  async function command(argv: readonly string[]) {
    const logged: string[] = [];
    const errors: string[] = [];
    const out = { log: (line: string) => logged.push(line), error: (line: string) => errors.push(line) };
    return { code: await main(argv, out), logged, errors };
  }

  test.each([
    [['--count', '0'], '--count 0: not a whole number from 1 to 10000000'],
    [['--seed', '2147483648'], '--seed 2147483648: not a whole number from 0 to 2147483647'],
    [['--only', '1'], '--only needs the --seed of its run'],
    [['--backend', 'other'], '--backend other: not one of mock, tcp, native'],
    [['--sead', '1'], "Unknown option '--sead'"],
  ])('refuses %j', async (argv, message) => {
    const { code, errors } = await command(argv);
    expect(code).toBe(2);
    expect(errors).toEqual([expect.stringContaining(`interleavings: ${message}`), 'Try --help.']);
  });

  test('explains itself', async () => {
    const { code, logged } = await command(['--help']);
    expect(code).toBe(0);
    expect(logged.join('\n')).toMatch(/^usage: npm run interleavings/);
  });

  test('takes turns between the backends', () => {
    const options = { count: 4, seed: 1, only: undefined, backends: ['mock', 'tcp', 'native'] as const };
    expect([0, 1, 2, 3].map((index) => backendOf(index, options))).toEqual(['mock', 'tcp', 'native', 'mock']);
  });

  test(
    'is a script of the package',
    () => {
      const args = ['run', '--silent', 'interleavings', '--', '--count', '2', '--seed', '3', '--backend', 'mock'];
      const { status, stdout } = spawnSync('npm', args, { cwd: join(__dirname, '..'), encoding: 'utf8' });
      expect(stdout).toMatch(/^Seed 3\n(?:.*\n)*mock: 2 interleavings held; \d+ calls, .*\n$/);
      expect(status).toBe(0);
    },
    LIMIT_MS,
  );
});

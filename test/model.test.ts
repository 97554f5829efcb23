import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import type { Backend, BackendFactory } from '../lib/backend/backend';
import { LLMException, LLMStatusCode } from '../lib';
import { main } from './model/fuzz';
import { newMocks } from './model/system';
import { describeCounterexample, nextSeed, search } from './model/search';

const CALLS = 10_000;
const BATCH = 20;

/** What the random calls have to reach, or they would prove nothing. */
const REACHED = [
  ...['pullCache', 'pullBlocks', 'pushCache', 'pushBlocks'].flatMap((op) =>
    ['SUCCESS', 'PARAM_INVALID', 'KV_CACHE_NOT_EXIST', 'NOT_YET_LINK', 'FAILED'].map((status) => `${op} LLM_${status}`),
  ),
  ...['SUCCESS', 'LINK_FAILED', 'ALREADY_LINK', 'PARAM_INVALID', 'TIMEOUT'].map(
    (status) => `linkClusters LLM_${status}`,
  ),
  ...['SUCCESS', 'UNLINK_FAILED'].map((status) => `unlinkClusters LLM_${status}`),
  ...['SUCCESS', 'EXIST_LINK', 'FAILED'].map((status) => `switchRole LLM_${status}`),
  ...['init', 'allocateCache', 'registerCache', 'unregisterCache', 'deallocateCache', 'free', 'write', 'finalize'].map(
    (op) => `${op} LLM_SUCCESS`,
  ),
];

test(`the mock answers ${CALLS} random calls as a model of the specification says`, async () => {
  let seed = randomInt(2 ** 31 - 1);
  console.log(`model: seed ${seed}, again: npm run fuzz -- --seed ${seed}`);
  const reached = new Set<string>();
  let calls = 0;
  while (calls < CALLS) {
    const found = await search({
      seed,
      runs: BATCH,
      onCall: ({ op }, status) => {
        calls += 1;
        reached.add(`${op} ${status}`);
      },
    });
    if (found !== undefined) throw new Error(describeCounterexample(found));
    seed = nextSeed(seed);
  }
  expect(REACHED.filter((each) => !reached.has(each))).toEqual([]);
}, 300_000);

type Method = (this: Backend, ...args: never[]) => Promise<unknown>;

/** Mocks with one method that does something else. */
function spoiltMocks<Name extends keyof Backend>(
  name: Name,
  spoil: (original: Extract<Backend[Name], Method>, backend: Backend) => Backend[Name],
): () => BackendFactory {
  return () => {
    const newMock = newMocks();
    return (clusterId, role) => {
      const backend = newMock(clusterId, role);
      const original = (backend[name] as Method).bind(backend) as Extract<Backend[Name], Method>;
      return Object.assign(backend, { [name]: spoil(original, backend) });
    };
  };
}

/** Faults as a mock might have them, and how few calls are enough to show each. */
const FAULTS: readonly { fault: string; newBackends: () => BackendFactory; calls: number }[] = [
  {
    fault: 'a pull leaves out the last of several blocks',
    newBackends: spoiltMocks('pullKvBlocks', (pull) => (src, dst, srcBlocks, dstBlocks, ext) => {
      const count = Math.max(1, srcBlocks.length - 1);
      return srcBlocks.length === dstBlocks.length
        ? pull(src, dst, srcBlocks.subarray(0, count), dstBlocks.subarray(0, count), ext)
        : pull(src, dst, srcBlocks, dstBlocks, ext);
    }),
    calls: 6,
  },
  {
    fault: 'an unlink by force tells the peer',
    newBackends: spoiltMocks(
      'unlinkLlmClusters',
      (unlink) => (clusters, timeoutMs) => unlink(clusters, timeoutMs, false),
    ),
    calls: 4,
  },
  {
    fault: 'a push moves one tensor of each layer',
    newBackends: spoiltMocks('pushKvCache', (push) => (src, dst, row, size, ext) => {
      return push(src, dst, row, size, { ...ext, tensorNumPerLayer: Math.min(1, ext.tensorNumPerLayer) });
    }),
    calls: 6,
  },
  {
    fault: 'unregistering does nothing',
    newBackends: spoiltMocks('unregisterKvCache', () => () => Promise.resolve()),
    calls: 8,
  },
  {
    fault: 'a role cannot be switched to the one that it is',
    newBackends: spoiltMocks('setRole', (setRole) => (role, options) => {
      if (role !== 3) return setRole(role, options);
      return Promise.reject(new LLMException(LLMStatusCode.LLM_PARAM_INVALID, { operation: 'switchRole' }));
    }),
    calls: 2,
  },
  {
    fault: 'links are reported in another order',
    newBackends: spoiltMocks(
      'linkLlmClusters',
      (link) => (clusters, timeoutMs) => link([...clusters].reverse(), timeoutMs),
    ),
    calls: 2,
  },
];

describe.each(FAULTS)('a mock in which $fault', ({ newBackends, calls }) => {
  test(`is found out in ${calls} calls at most, and again where the counterexample says`, async () => {
    const found = await search({ seed: 1, runs: 500, newBackends });
    if (found === undefined) throw new Error('no difference was found');
    const { seed, path, difference } = found;
    expect(difference.calls.length).toBeLessThanOrEqual(calls);
    const again = await search({ seed, path, runs: 1, newBackends });
    expect(again?.difference.message).toBe(difference.message);
    expect(again?.difference.calls).toEqual(difference.calls);
  }, 300_000);
});

describe('npm run fuzz', () => {
  /** What the command prints and returns. */
  async function run(argv: readonly string[], newBackends?: () => BackendFactory) {
    const logged: string[] = [];
    const errors: string[] = [];
    const out = { log: (line: string) => logged.push(line), error: (line: string) => errors.push(line) };
    return { code: await main(argv, out, newBackends), logged, errors };
  }

  test('prints the seed and how far it has come, the same for the same seed', async () => {
    const first = await run(['--runs', '12', '--seed', '9']);
    expect(first).toEqual({
      code: 0,
      errors: [],
      logged: ['Seed 9', expect.stringMatching(/^12 of 12 runs, \d+ calls: no difference$/)],
    });
    expect(await run(['--runs', '12', '--seed', '9'])).toEqual(first);
  });

  test('takes a random seed when none is given', async () => {
    const { logged } = await run(['--runs', '1']);
    expect(logged[0]).toMatch(/^Seed \d+$/);
  });

  test('prints the shortest calls that show a difference and the command that finds it again, and fails', async () => {
    const [, fault] = FAULTS;
    const { code, logged } = await run(['--seed', '4'], fault?.newBackends);
    expect(code).toBe(1);
    const text = logged.at(-1) ?? '';
    expect(text).toMatch(
      /^Model and backend differ after \d calls on \d nodes \(hccl, guards o(n|ff)\):\n {2}1\. node /,
    );
    const [, again = ''] = /^Again: npm run fuzz -- (.*)$/m.exec(text) ?? [];
    const repeated = await run(again.split(' '), fault?.newBackends);
    expect(repeated.code).toBe(1);
    expect(repeated.logged.at(-1)).toBe(text);
    expect(await run(again.split(' '))).toMatchObject({
      code: 0,
      logged: [expect.any(String), 'This run shows no difference.'],
    });
  }, 300_000);

  test.each([
    [['--runs', '0'], '--runs 0: not a whole number from 1 to 10000000'],
    [['--runs', '1e3'], '--runs 1e3: not a whole number from 1 to 10000000'],
    [['--seed', '2147483648'], '--seed 2147483648: not a whole number from 0 to 2147483647'],
    [['--path', '1:2'], '--path needs the --seed that was named with it'],
    [['--seed', '1', '--path', '1', '--runs', '2'], '--path is one run: --runs has no meaning with it'],
    [['--seed', '1', '--path', '1:x'], '--path 1:x: not whole numbers with colons between them'],
    [['--sead', '1'], "Unknown option '--sead'"],
    [['more'], 'Unexpected argument'],
  ])('refuses %j', async (argv, message) => {
    const { code, errors } = await run(argv);
    expect(code).toBe(2);
    expect(errors).toEqual([expect.stringContaining(`fuzz: ${message}`), 'Try --help.']);
  });

  test('explains itself', async () => {
    const { code, logged } = await run(['--help']);
    expect(code).toBe(0);
    expect(logged.join('\n')).toMatch(/^usage: npm run fuzz/);
  });

  test('is a script of the package', () => {
    const { status, stdout } = spawnSync('npm', ['run', '--silent', 'fuzz', '--', '--runs', '1', '--seed', '3'], {
      cwd: join(__dirname, '..'),
      encoding: 'utf8',
    });
    expect(stdout).toMatch(/^Seed 3\n1 of 1 runs, \d+ calls: no difference\n$/);
    expect(status).toBe(0);
  }, 300_000);
});

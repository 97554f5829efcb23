import { runChild } from './fixtures/child';
import { ABRUPT, expectEnd, expectNothingLeft, NOTHING, warnings } from './fixtures/endings';
import type { Ending } from './fixtures/endings';
import { sampled } from './fixtures/host';

const OPERATIONS = [
  'init',
  'finalize',
  'switchRole',
  'linkClusters',
  'unlinkClusters',
  'registerCache',
  'unregisterCache',
  'pullCache',
  'pullBlocks',
  'pushCache',
  'pushBlocks',
  'allocateMemory',
  'write',
  'read',
  'free',
];

/** The call ends, and then the rest. */
const ORDERLY: Readonly<Record<string, Ending>> = {
  'end of main': { code: 0, stdout: ['ready', 'settled'], stderr: NOTHING },
  'finalize()': { code: 0, stdout: ['ready', 'settled', 'finalized'], stderr: warnings('LLMDataDistMemoryWarning') },
  'garbage collection': { code: 0, stdout: ['ready', 'settled'], stderr: warnings('LLMDataDistLeakWarning') },
};

/** Where no memory is left for finalize to tell of, and no instance for garbage collection: those that are linked stay. */
const LEAVES_NOTHING: Readonly<Record<string, readonly string[]>> = {
  'finalize()': ['init', 'finalize'],
  'garbage collection': ['finalize', 'linkClusters', 'pullCache', 'pullBlocks', 'pushCache', 'pushBlocks'],
};

const TEST_LIMIT_MS = 600_000;
/** What a process that hangs for another reason than the call would exceed; nothing depends on its being short. */
const EXIT_MARGIN_MS = 60_000;
const EXIT_TIMEOUT_MS = 300;

const cases = (endings: Readonly<Record<string, Ending>>) =>
  Object.entries(endings).flatMap(([name, ending]) => OPERATIONS.map((operation) => ({ operation, name, ending })));

async function expectOrderlyEnd(operation: string, name: string, mode: 'inside' | 'called'): Promise<void> {
  const ending = { ...ORDERLY, ...ABRUPT }[name]!;
  const leavesNothing = LEAVES_NOTHING[name]?.includes(operation) === true;
  const end = await runChild('in-flight.js', [operation, name, mode], { flags: ['--expose-gc'] });
  expectEnd(end, leavesNothing ? { ...ending, stderr: NOTHING } : ending);
  expectNothingLeft(end);
}

test.concurrent.each(sampled(cases({ ...ORDERLY, ...ABRUPT })))(
  '$name while $operation is in flight',
  ({ operation, name }) => expectOrderlyEnd(operation, name, 'inside'),
  TEST_LIMIT_MS,
);

const AT_ONCE = ['process.exit', 'process.exit in a worker', 'finalize()'];

test.concurrent.each(sampled(cases({ ...ORDERLY, ...ABRUPT }).filter(({ name }) => AT_ONCE.includes(name))))(
  '$name on the turn in which $operation was called',
  ({ operation, name }) => expectOrderlyEnd(operation, name, 'called'),
  TEST_LIMIT_MS,
);

test.concurrent.each(sampled(cases(ABRUPT)))(
  '$name while $operation never returns from the library',
  async ({ operation, name, ending }) => {
    const env = { LLM_DATADIST_EXIT_TIMEOUT: String(EXIT_TIMEOUT_MS) };
    const end = await runChild('in-flight.js', [operation, name, 'hanging'], { env });
    expectEnd(end, ending);
    expect(end.lastMs).toBeLessThan(EXIT_TIMEOUT_MS + EXIT_MARGIN_MS);
  },
  TEST_LIMIT_MS,
);

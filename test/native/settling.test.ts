import { runChild } from './fixtures/child';
import { expectEnd, NOTHING } from './fixtures/endings';

// Results and exceptions are settled while code of the program gets in their way: each call settles once, and the
// instance works as before.

const THEN = [
  'throws',
  'throws a primitive',
  'throws what cannot be looked at',
  'resolves twice',
  'never resolves but throws late',
  'collects',
  're-enters',
];
const PROTOTYPES = ['Array', 'Object', 'Uint8Array'];
const FINISHED = ['settled 0 true', 'finalized'];
const TEST_LIMIT_MS = 600_000;

const run = (...args: string[]) => runChild('settling.js', args, { flags: ['--expose-gc'] });

test.concurrent.each(THEN.flatMap((kind) => PROTOTYPES.map((where) => [kind, where] as const)))(
  'a getter `then` %s, on the prototype of %s',
  async (kind, where) => {
    const end = await run(kind, where);
    expectEnd(end, { code: 0, stdout: ['ready', ...FINISHED], stderr: NOTHING });
  },
  TEST_LIMIT_MS,
);

test.concurrent(
  'setters on the prototypes throw',
  async () => {
    const end = await run('setters', 'Object');
    expectEnd(end, { code: 0, stdout: ['ready', ...FINISHED], stderr: NOTHING });
  },
  TEST_LIMIT_MS,
);

test.concurrent(
  'a getter `then` ends the process',
  async () => {
    const end = await run('exits', 'Array');
    expectEnd(end, { code: 3, stdout: ['ready'], stderr: NOTHING });
  },
  TEST_LIMIT_MS,
);

test.concurrent.each([
  ['throws', 0, FINISHED],
  ['throws what cannot be looked at', 0, FINISHED],
  ['re-enters', 0, FINISHED],
  ['exits', 3, []],
] as const)(
  'a getter `then` %s in a worker',
  async (kind, code, lines) => {
    const end = await run(kind, 'Array', 'in a worker');
    expectEnd(end, { code: 0, stdout: ['ready', ...lines, `worker ${code}`], stderr: NOTHING });
  },
  TEST_LIMIT_MS,
);

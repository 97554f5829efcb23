interface Ended {
  readonly status: number | null;
  readonly signal: string | null;
}

interface RepeatedRun {
  readonly repeatedRun: (options: { run: () => Ended; takeReports: () => string[]; say: (line: string) => void }) => {
    ended: Ended;
    found: string[];
  };
}

const { repeatedRun } = jest.requireActual<RepeatedRun>('../scripts/repeated-run.js');

const PASSED: Ended = { status: 0, signal: null };
const FAILED: Ended = { status: 1, signal: null };
const CRASHED: Ended = { status: null, signal: 'SIGSEGV' };
const KILLED: Ended = { status: null, signal: 'SIGKILL' };

/** Runs that end in this way, one after the other, each with its reports. */
function runs(...ends: readonly (readonly [ended: Ended, reports?: string[]])[]) {
  const said: string[] = [];
  let made = 0;
  const result = repeatedRun({
    run: () => {
      const [ended] = ends[made++]!;
      return ended;
    },
    takeReports: () => ends[made - 1]![1] ?? [],
    say: (line) => said.push(line),
  });
  return { ...result, made, said };
}

test.each<[string, Ended, string[]]>([
  ['passes', PASSED, []],
  ['fails', FAILED, []],
  ['ends by another signal', KILLED, []],
  ['ends by SIGSEGV with a report', CRASHED, ['a leak']],
  ['passes with a report', PASSED, ['a leak']],
])('a run that %s is made once', (_, ended, found) => {
  expect(runs([ended, found])).toEqual({ ended, found, made: 1, said: [] });
});

test('a run that ends by SIGSEGV without a report is repeated once, with a loud word', () => {
  const said = [expect.stringMatching(/^!!! the runner ended by SIGSEGV/) as string];
  expect(runs([CRASHED], [PASSED])).toEqual({ ended: PASSED, found: [], made: 2, said });
  expect(runs([CRASHED], [PASSED, ['a leak']])).toEqual({ ended: PASSED, found: ['a leak'], made: 2, said });
  expect(runs([CRASHED], [FAILED])).toEqual({ ended: FAILED, found: [], made: 2, said });
});

test('the second end by SIGSEGV is a failure', () => {
  expect(runs([CRASHED], [CRASHED])).toMatchObject({ ended: CRASHED, made: 2 });
});

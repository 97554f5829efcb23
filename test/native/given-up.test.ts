import { runChild } from './fixtures/child';
import { ABRUPT, expectEnd, NATURAL } from './fixtures/endings';
import { sampled } from './fixtures/host';

// Processes and workers end while a transfer that was given up is still inside the library.

const TEST_LIMIT_MS = 600_000;
/** What a process that waits for the call would exceed by far; nothing depends on its being short. */
const EXIT_MARGIN_MS = 60_000;

/** Nothing waits for the call at the end: with this a child would take until its limit. */
const env = { LLM_DATADIST_EXIT_TIMEOUT: '2147483647' };

const ENDINGS = { ...NATURAL, ...ABRUPT };
const pulls = Object.keys(ENDINGS).map((name) => ({ operation: 'pullBlocks', name }));
const pushes = ['end of main', 'worker.terminate()'].map((name) => ({ operation: 'pushBlocks', name }));

test.concurrent.each(sampled([...pulls, ...pushes]))(
  '$name while $operation hangs that was given up',
  async ({ operation, name }) => {
    const end = await runChild('given-up.js', [operation, name, 'hanging'], { env });
    expectEnd(end, ENDINGS[name]!);
    expect(end.lastMs).toBeLessThan(EXIT_MARGIN_MS);
    // Finalize does not survive a transfer that runs.
    expect(end.calls.filter(({ method }) => method === 'Finalize')).toEqual([]);
  },
  TEST_LIMIT_MS,
);

test.concurrent.each(sampled(Object.keys(ENDINGS)))(
  '%s while a pull comes back that was given up',
  async (name) => {
    const end = await runChild('given-up.js', ['pullBlocks', name, 'late'], { env });
    expectEnd(end, ENDINGS[name]!);
    expect(end.lastMs).toBeLessThan(EXIT_MARGIN_MS);
  },
  TEST_LIMIT_MS,
);

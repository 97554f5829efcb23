import { runChild } from './fixtures/child';
import { ABRUPT, expectEnd, expectNothingLeft, NOTHING, warnings } from './fixtures/endings';
import type { Ending } from './fixtures/endings';
import { sampled } from './fixtures/host';

const LEAK = warnings('LLMDataDistLeakWarning');
const MEMORY = warnings('LLMDataDistMemoryWarning');

/** What finalize() and garbage collection have to tell at each stage. */
const STAGES: Readonly<Record<string, { readonly finalized: RegExp; readonly collected: RegExp }>> = {
  'nothing is loaded': { finalized: NOTHING, collected: NOTHING },
  'the library is open': { finalized: NOTHING, collected: NOTHING },
  'it is constructed': { finalized: NOTHING, collected: NOTHING },
  'it is initialised': { finalized: MEMORY, collected: LEAK },
  'it is linked': { finalized: MEMORY, collected: NOTHING },
  'it is finalized': { finalized: NOTHING, collected: NOTHING },
  'it is initialised again': { finalized: NOTHING, collected: NOTHING },
  // The peer of the lost instance cannot be finalized beside it.
  'it is lost': { finalized: NOTHING, collected: NOTHING },
};

const TEST_LIMIT_MS = 600_000;

const cases = Object.entries(STAGES).flatMap(([stage, { finalized, collected }]) => {
  const endings: Readonly<Record<string, Ending>> = {
    'end of main': { code: 0, stdout: ['ready'], stderr: NOTHING },
    'finalize()': { code: 0, stdout: ['ready', 'finalized'], stderr: finalized },
    'garbage collection': { code: 0, stdout: ['ready'], stderr: collected },
    ...ABRUPT,
  };
  return Object.entries(endings).map(([name, ending]) => ({ stage, name, ending }));
});

test.concurrent.each(sampled(cases))(
  '$name when $stage',
  async ({ stage, name, ending }) => {
    // Where a call hangs, an exit that waited for it would take until the limit of the child.
    const env = { LLM_DATADIST_EXIT_TIMEOUT: '2147483647' };
    const end = await runChild('stage.js', [stage, name], { env, flags: ['--expose-gc'] });
    expectEnd(end, ending);
    if (stage !== 'it is lost') expectNothingLeft(end);
  },
  TEST_LIMIT_MS,
);

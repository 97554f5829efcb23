import { HOOKS, METHODS, TIMES } from '../fixtures/vm-timeouts';
import { runChild } from './fixtures/child';

// A `vm` script that runs out of its time stops JavaScript in the middle of calls, and no `finally` runs: the process goes on, nothing
// is counted that has ended, and the instance can be linked, used and finalized as before.

const TEST_LIMIT_MS = 600_000;

test.concurrent.each(HOOKS.flatMap((hooks) => METHODS.map((methods) => [methods.join(', '), hooks, methods] as const)))(
  'scripts run out of their time in %s, with %s',
  async (_, hooks, methods) => {
    // Transfers of a script that was stopped run on, without anything that would have waited for them.
    const { code, signal, stdout, stderr } = await runChild('vm-timeouts.js', ['native', hooks, TIMES, ...methods], {
      // That finalize() frees what there is.
      flags: ['--no-warnings'],
      journal: false,
    });
    expect({ code, signal, stdout, stderr }).toEqual({
      code: 0,
      signal: null,
      stdout: [...methods.map((method) => `${method} ${TIMES}`), 'finalized', ''].join('\n'),
      stderr: '',
    });
  },
  TEST_LIMIT_MS,
);

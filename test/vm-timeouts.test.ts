import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { compileLib } from './fixtures/compiled-lib';
import { HOOKS, METHODS, TIMES } from './fixtures/vm-timeouts';

// As test/native/vm-timeouts.test.ts, over the mock.

const PROGRAM = join(__dirname, 'fixtures', 'vm-timeouts-program.js');

const lib = compileLib('index');

afterAll(() => {
  lib.remove();
});

test.each(HOOKS)('scripts run out of their time in the middle of every method, with %s', async (hooks) => {
  const methods = METHODS.flat();
  const child = spawn(process.execPath, ['--no-warnings', PROGRAM, 'mock', hooks, TIMES, ...methods], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, DATADIST_TEST_COMPILED: lib.path },
  });
  const [stdout] = await Promise.all([text(child.stdout), once(child, 'close')]);
  const { exitCode: code } = child;
  expect({ code, stdout }).toEqual({
    code: 0,
    stdout: [...methods.map((method) => `${method} ${TIMES}`), 'finalized', ''].join('\n'),
  });
});

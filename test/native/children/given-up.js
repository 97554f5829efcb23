'use strict';

// A transfer hangs in the library and was given up when the process or the worker ends.
//
//   given-up.js OPERATION ENDING hanging|late
//
// The call never comes back, or comes back when the end has begun.

const { endAfter } = require('./endings');
const { inside, standIn } = require('./nodes');
const { OPERATIONS } = require('./operations');

const [operation, ending, mode] = process.argv.slice(2);
const { setScene, call, method } = OPERATIONS[operation];

/** Far more than the calls take that are not given up, also where everything is twenty times as slow. */
const HANG_TIMEOUT_MS = 2000;

const standin = standIn();

async function start() {
  const all = await setScene({ hangTimeout: HANG_TIMEOUT_MS });
  standin.set(method, { times: 1, ...(mode === 'hanging' ? { hang: true } : { block: true }) });
  const rejected = call(all).catch((error) => error);
  await inside(standin, method);
  const { code, recovery } = (await rejected) ?? {};
  if (code !== 'LLM_TIMEOUT' || recovery !== 'retry') throw new Error(`it was not given up: ${code} ${recovery}`);
  return all;
}

void endAfter(start, ending, {
  release: () => {
    if (mode === 'late') standin.release(method);
  },
});

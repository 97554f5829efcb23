'use strict';

// One call is in flight when the process, the worker or the instance ends.
//
//   in-flight.js OPERATION ENDING inside|hanging|called
//
// The call is inside the library until the end has begun, never comes back from it, or was made on the very turn of the
// event loop.

const { endAfter, tell } = require('./endings');
const { inside, standIn } = require('./nodes');
const { OPERATIONS } = require('./operations');

const [operation, ending, mode] = process.argv.slice(2);
const { setScene, call, method } = OPERATIONS[operation];

const standin = standIn();
const warned = [];
let isSettled = false;
/** Of the prompt. */
let allocations = 0;

/** When the call is inside, nothing refers to the decoder but what this returns. The prompt is its peer, and stays. */
async function start() {
  const all = await setScene();
  if (mode !== 'called') standin.set(method, { times: 1, ...(mode === 'hanging' ? { hang: true } : { block: true }) });
  call(all).then(
    () => {
      isSettled = true;
      tell('settled');
    },
    (error) => {
      tell(`rejected ${error.code}`);
    },
  );
  if (mode !== 'called') await inside(standin, method);
  const { prompt, promptCache } = all;
  allocations = promptCache?.regions.length ?? 0;
  return ending === 'garbage collection' ? { prompt } : all;
}

process.on('warning', ({ name }) => warned.push(name));
// A linked one is not collected; the handle of a finalized one is without a word.
const staysLinked = ['linkClusters', 'pullCache', 'pullBlocks', 'pushCache', 'pushBlocks'].includes(operation);
const expected = operation === 'finalize' ? 0 : 1;
const isCollected = () => warned.length === expected && standin.counters().liveAllocations === allocations;
void endAfter(start, ending, {
  release: () => {
    standin.release(method);
  },
  isCollected: () => isSettled && (staysLinked || isCollected()),
});

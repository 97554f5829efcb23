'use strict';

// A worker is terminated while a call of it hangs. Prints what another instance gets then in the main thread.
//
//   worker-hangs.js one|two|pull
//
// The call links, and has the lock of the process, with so many instances in the worker; or it pulls, with two.

const { Worker, isMainThread, parentPort } = require('node:worker_threads');
const { PROMPT_CLUSTER, decoder, initialisedNodes, inside, linkedNodes, prompt, standIn } = require('./nodes');
const { OPERATIONS } = require('./operations');
const { outcomeOf } = require('./outcome');

const [mode] = process.argv.slice(2);

async function one() {
  const dist = decoder();
  await dist.init({ deviceId: 1 });
  return { decoder: dist };
}

const MODES = {
  one: { setScene: one, method: 'LinkLlmClusters', call: (all) => all.decoder.linkClusters([PROMPT_CLUSTER]) },
  two: {
    setScene: initialisedNodes,
    method: 'LinkLlmClusters',
    call: (all) => all.decoder.linkClusters([PROMPT_CLUSTER]),
  },
  pull: { ...OPERATIONS.pullBlocks, setScene: linkedNodes },
};

async function hang() {
  const standin = standIn();
  const { setScene, method, call } = MODES[mode];
  const all = await setScene();
  standin.set(method, { hang: true });
  void call(all);
  await inside(standin, method);
  parentPort.postMessage('inside');
}

async function main() {
  const worker = new Worker(process.argv[1], { argv: [mode] });
  await new Promise((resolve) => {
    worker.once('message', resolve);
  });
  await worker.terminate();
  const init = await outcomeOf(prompt({ allowMultipleInstances: false }).init({ deviceId: 3 }));
  process.stdout.write(JSON.stringify({ init }));
}

void (isMainThread ? main() : hang());

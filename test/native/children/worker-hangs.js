'use strict';

// A worker is terminated while a call of it hangs with the lock of the process. Prints what the main thread is told then.
//
//   worker-hangs.js one|two     instances in the worker

const { Worker, isMainThread, parentPort } = require('node:worker_threads');
const { PROMPT_CLUSTER, decoder, initialisedNodes, inside, prompt, standIn } = require('./nodes');
const { told } = require('./told');

const [instances] = process.argv.slice(2);

async function one() {
  const dist = decoder();
  await dist.init({ deviceId: 1 });
  return { decoder: dist };
}

async function hang() {
  const standin = standIn();
  const { decoder: dist } = await (instances === 'one' ? one() : initialisedNodes());
  standin.set('LinkLlmClusters', { hang: true });
  void dist.linkClusters([PROMPT_CLUSTER]);
  await inside(standin, 'LinkLlmClusters');
  parentPort.postMessage('inside');
}

async function main() {
  const worker = new Worker(process.argv[1], { argv: [instances] });
  await new Promise((resolve) => {
    worker.once('message', resolve);
  });
  await worker.terminate();
  const init = await told(prompt().init({ deviceId: 0 }));
  process.stdout.write(JSON.stringify({ init }));
}

void (isMainThread ? main() : hang());

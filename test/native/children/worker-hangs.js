'use strict';

// A worker is terminated while a call of it hangs with the lock of the process. Prints what the main thread is told then.

const { Worker, isMainThread, parentPort } = require('node:worker_threads');
const { inside, prompt, standIn } = require('./nodes');
const { OPERATIONS } = require('./operations');
const { told } = require('./told');

const { setScene, call, method } = OPERATIONS.linkClusters;

async function hang() {
  const standin = standIn();
  const all = await setScene();
  standin.set(method, { hang: true });
  void call(all);
  await inside(standin, method);
  parentPort.postMessage('inside');
}

async function main() {
  const worker = new Worker(process.argv[1]);
  await new Promise((resolve) => {
    worker.once('message', resolve);
  });
  await worker.terminate();
  const init = await told(prompt().init({ deviceId: 0 }));
  process.stdout.write(JSON.stringify({ init }));
}

void (isMainThread ? main() : hang());

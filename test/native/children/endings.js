'use strict';

// How a process, a worker or an instance ends.

const { setTimeout } = require('node:timers');
const { setImmediate } = require('node:timers/promises');
const { Worker, isMainThread, parentPort } = require('node:worker_threads');

/** Enough for whatever is collected at all to be collected, and for what that leads to. */
const COLLECTIONS = 10;

function tell(text) {
  process.stdout.write(`${text}\n`);
}

const ENDINGS = {
  'end of main': () => undefined,
  'process.exit': () => process.exit(3),
  'an uncaught exception': () => {
    setTimeout(() => {
      throw new Error('planned');
    }, 0);
  },
  'an unhandled rejection': () => {
    void Promise.reject(new Error('planned'));
  },
  'finalize()': async ({ decoder, prompt }) => {
    await decoder?.finalize();
    await prompt?.finalize();
    tell('finalized');
  },
  'garbage collection': async (_, isCollected) => {
    for (let i = 0; i < COLLECTIONS || !isCollected(); i++) {
      globalThis.gc();
      await setImmediate();
    }
  },
};

/** What refers to the instances, or to those of them that are to stay. */
let kept;

/**
 * Ends what `start` brings to life and returns, after it has said `ready`.
 * @param isCollected - Whether everything has happened that garbage collection leads to.
 */
async function endAfter(start, ending, isCollected) {
  if (!isMainThread) {
    kept = await start();
    tell('ready');
    if (ending === 'process.exit in a worker') process.exit(3);
    parentPort.postMessage('ready');
    // It goes on until it is terminated.
    parentPort.on('message', () => undefined);
  } else if (ending.includes('worker')) {
    const worker = new Worker(process.argv[1], { argv: process.argv.slice(2) });
    if (ending === 'worker.terminate()') worker.once('message', () => worker.terminate());
    worker.once('exit', (code) => {
      tell(`worker ${code}`);
    });
  } else {
    kept = await start();
    tell('ready');
    await ENDINGS[ending](kept, isCollected);
  }
}

module.exports = { endAfter, tell };

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

/** Each lets go of what blocks when the end has begun; what an exit does is added to its `exit` event. */
const ENDINGS = {
  'end of main': (_, { release }) => {
    release();
  },
  'process.exit': () => process.exit(3),
  'an uncaught exception': () => {
    setTimeout(() => {
      throw new Error('planned');
    }, 0);
  },
  'an unhandled rejection': () => {
    void Promise.reject(new Error('planned'));
  },
  'finalize()': async ({ decoder, prompt }, { release }) => {
    const finalized = decoder?.finalize();
    release();
    await finalized;
    await prompt?.finalize();
    tell('finalized');
  },
  'garbage collection': async (_, { release, isCollected }) => {
    for (let i = 0; i < COLLECTIONS || !isCollected(); i++) {
      globalThis.gc();
      await setImmediate();
      if (i === COLLECTIONS) release();
    }
  },
};

/** What refers to the instances, or to those of them that are to stay. */
let kept;

/**
 * Ends what `start` brings to life and returns, after it has said `ready`.
 * @param calls.release - Lets calls go on that are blocked in the library.
 * @param calls.isCollected - Whether everything has happened that garbage collection leads to.
 */
async function endAfter(start, ending, { release = () => undefined, isCollected }) {
  // Before the package looks at it, which waits for calls that are inside.
  process.once('exit', release);
  if (!isMainThread) {
    kept = await start();
    tell('ready');
    if (ending === 'process.exit in a worker') process.exit(3);
    if (ending === 'end of a worker') {
      release();
      return;
    }
    parentPort.postMessage('ready');
    // It goes on until it is terminated.
    parentPort.on('message', () => undefined);
  } else if (ending.includes('worker')) {
    const worker = new Worker(process.argv[1], { argv: process.argv.slice(2) });
    worker.once('message', () => {
      void worker.terminate();
      release();
    });
    worker.once('exit', (code) => {
      tell(`worker ${code}`);
    });
  } else {
    kept = await start();
    tell('ready');
    await ENDINGS[ending](kept, { release, isCollected });
  }
}

module.exports = { endAfter, tell };

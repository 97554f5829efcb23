'use strict';

// An instance is garbage-collected without finalize(), and the Finalize that is made then does not come back.

const { setImmediate } = require('node:timers/promises');
const { decoder, inside, standIn } = require('./nodes');

/** Far more than the calls take that are not given up, also where everything is twenty times as slow. */
const HANG_TIMEOUT_MS = 2000;

async function forget() {
  await decoder({ hangTimeout: HANG_TIMEOUT_MS }).init({ deviceId: 0 });
}

async function main() {
  const standin = standIn();
  standin.set('Finalize', { hang: true });
  await forget();
  let isCollected = false;
  process.once('warning', () => {
    isCollected = true;
  });
  while (!isCollected) {
    globalThis.gc();
    await setImmediate();
  }
  await inside(standin, 'Finalize');
}

void main();

'use strict';

// Instances come and go, or one has many lives. Prints the threads and handles of the process before the first life and
// after the last one, when the threads have ended.
//
//   node thread-growth.js LIVES one|many

const fs = require('node:fs');
const { setImmediate } = require('node:timers/promises');
const { DESC, decoder } = require('./nodes');

const [lives, instances] = process.argv.slice(2);

const threads = () => fs.readdirSync('/proc/self/task').length;
const handles = () => process.getActiveResourcesInfo().length;

async function live(dist) {
  await dist.init({ deviceId: 0 });
  const cache = await dist.kvCacheManager.allocateCache(DESC);
  // Of peers that it is not linked to: a lane each, and a thread, all the same.
  const pull = (clusterId) => dist.kvCacheManager.pullBlocks({ clusterId, cacheId: 1n }, cache, [0], [0]);
  await Promise.allSettled([1n, 2n, 3n].map(pull));
  await dist.kvCacheManager.deallocateCache(cache);
  await dist.finalize();
}

async function liveOften() {
  let dist = decoder();
  for (let i = 0; i < Number(lives); i++) {
    await live(dist);
    if (instances === 'many') dist = decoder();
  }
}

async function main() {
  const base = { threads: threads(), handles: handles() };
  await liveOften();
  // The threads of an instance end with finalize(), without a collection. If they do not, this never ends.
  while (threads() > base.threads) await setImmediate();
  const last = { threads: threads(), handles: handles() };
  process.stdout.write(JSON.stringify({ base, last }));
}

void main();

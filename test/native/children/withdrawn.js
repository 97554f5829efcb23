'use strict';

// Calls that wait behind a pull which blocks in the library are aborted again and again.
//
//   withdrawn.js growth ROUNDS     prints the memory after so many rounds of 1000 calls, twice as many, and three times as many
//   withdrawn.js end               the process ends by itself when the pull has come back
//   withdrawn.js worker            a worker with such calls is terminated; then the process ends by itself
//
// The last two print `released` when all calls that were aborted are.

const { setImmediate } = require('node:timers/promises');
const { Worker, isMainThread, parentPort } = require('node:worker_threads');
const { inside, linkedNodes, standIn } = require('./nodes');

const [mode, rounds = '1'] = process.argv.slice(2);

const CALLS = 1000;
const MOMENTS = 5;
const standin = standIn();

/** A pull that is inside, and what makes another one that waits behind it. */
async function held() {
  const nodes = await linkedNodes();
  const { decoder, promptCache, decoderCache } = nodes;
  const pull = (block, call) =>
    decoder.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [block], [block], call);
  standin.set('PullKvBlocks', { block: true, times: 1 });
  const first = pull(0);
  await inside(standin, 'PullKvBlocks');
  return { ...nodes, first, pull };
}

/** Makes calls that wait, of block 1, and aborts all of them. */
async function abortMany({ pull }) {
  const controller = new globalThis.AbortController();
  const calls = Array.from({ length: CALLS }, () => pull(1, { signal: controller.signal }));
  controller.abort();
  for (const { status, reason } of await Promise.allSettled(calls)) {
    if (status !== 'rejected' || reason.name !== 'AbortError') throw new Error('a call was not aborted');
    await reason.released;
  }
}

async function end({ decoder, prompt, promptCache, decoderCache, first, pull }) {
  standin.release('PullKvBlocks');
  await first;
  await pull(2);
  await decoder.kvCacheManager.deallocateCache(decoderCache);
  await decoder.finalize();
  await prompt.kvCacheManager.deallocateCache(promptCache);
  await prompt.finalize();
}

/** The least of several moments: garbage that is still there is no leak. */
async function least(nodes) {
  const moment = { heap: Infinity, rest: Infinity };
  for (let i = 0; i < MOMENTS; i++) {
    for (let round = 0; round < Number(rounds) / MOMENTS; round++) await abortMany(nodes);
    await setImmediate();
    globalThis.gc();
    const { rss, heapTotal, heapUsed } = process.memoryUsage();
    moment.heap = Math.min(moment.heap, heapUsed);
    moment.rest = Math.min(moment.rest, rss - heapTotal);
  }
  return moment;
}

async function growth() {
  const nodes = await held();
  await least(nodes);
  const moments = [await least(nodes), await least(nodes), await least(nodes)];
  await end(nodes);
  process.stdout.write(JSON.stringify({ moments, callsBetween: Number(rounds) * CALLS }));
}

async function endByItself() {
  const nodes = await held();
  await abortMany(nodes);
  process.stdout.write('released\n');
  await end(nodes);
}

async function inWorker() {
  const nodes = await held();
  await abortMany(nodes);
  // More of them, of another block, which end with the environment or run before it ends.
  for (let i = 0; i < CALLS; i++) nodes.pull(3, { timeout: 600_000 }).catch(() => undefined);
  parentPort.postMessage('released');
  parentPort.on('message', () => undefined);
}

async function terminateWorker() {
  const worker = new Worker(process.argv[1], { argv: [mode] });
  await new Promise((resolve) => {
    worker.once('message', resolve);
  });
  const terminated = worker.terminate();
  standin.release('PullKvBlocks');
  await terminated;
  process.stdout.write('released\n');
}

const MODES = { growth, end: endByItself, worker: isMainThread ? terminateWorker : inWorker };
void MODES[mode]();

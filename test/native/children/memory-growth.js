'use strict';

// Pulls by the hundred thousand, answered at once. Prints the resident memory of the process in the second tenth of
// them, in the sixth and in the last, medians of several moments, and how many calls lie between two of them.
//
//   node --expose-gc memory-growth.js PULLS

const { decoder, lib, standIn } = require('./nodes');

const pulls = Number(process.argv[2]);

const BLOCKS = 64;
const IN_FLIGHT = 64;
const MOMENTS = 5;
const DESC = { numTensors: 1, dataType: lib.DataType.DT_INT8, shape: [BLOCKS, 16] };

const key = { clusterId: 1n, cacheId: 1n };
const blocks = BigUint64Array.from({ length: BLOCKS }, (_, i) => BigInt(i));

async function pull(count, { kvCacheManager }, cache) {
  let left = count;
  const lane = async () => {
    while (left > 0) {
      left -= 1;
      await kvCacheManager.pullBlocks(key, cache, blocks, blocks);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
}

/** Over a tenth of the pulls. */
async function resident(dist, cache) {
  const moments = [];
  for (let i = 0; i < MOMENTS; i++) {
    await pull(pulls / 10 / MOMENTS, dist, cache);
    globalThis.gc();
    moments.push(process.memoryUsage.rss());
  }
  return moments.sort((a, b) => a - b)[(MOMENTS - 1) / 2];
}

async function main() {
  const dist = decoder();
  await dist.init({ deviceId: 0 });
  const cache = await dist.kvCacheManager.allocateCache(DESC);
  standIn().run('strict off; answer_at_once on');
  await pull(pulls / 10, dist, cache);
  const before = await resident(dist, cache);
  await pull((pulls / 10) * 3, dist, cache);
  const middle = await resident(dist, cache);
  await pull((pulls / 10) * 3, dist, cache);
  const after = await resident(dist, cache);
  await dist.kvCacheManager.deallocateCache(cache);
  process.stdout.write(JSON.stringify({ before, middle, after, callsBetween: (pulls / 10) * 4 }));
}

void main();

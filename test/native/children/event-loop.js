'use strict';

// Transfers are in flight over so many links, and the one thread of libuv's pool does what it is for.
//
//   UV_THREADPOOL_SIZE=1 event-loop.js TRANSFERS

const crypto = require('node:crypto');
const dns = require('node:dns/promises');
const fs = require('node:fs/promises');
const { promisify } = require('node:util');
const { DESC, decoder, inside, standIn } = require('./nodes');

const transfers = Number(process.argv[2]);

async function main() {
  const standin = standIn();
  const dist = decoder();
  await dist.init({ deviceId: 0 });
  const cache = await dist.kvCacheManager.allocateCache(DESC);
  standin.set('PullKvBlocks', { block: true });
  // They are stopped before it matters that nothing is linked.
  const pulls = Array.from({ length: transfers }, (_, i) =>
    dist.kvCacheManager.pullBlocks({ clusterId: BigInt(100 + i), cacheId: 1n }, cache, [0], [0]),
  );
  const ends = Promise.allSettled(pulls);
  await inside(standin, 'PullKvBlocks', transfers);

  const [file, address, key] = await Promise.all([
    fs.readFile(process.argv[1]),
    dns.lookup('localhost'),
    promisify(crypto.pbkdf2)('', '', 1, 16, 'sha1'),
  ]);
  const done = [file.length > 0, address.address !== '', key.length === 16];
  const { threadsInside } = standin.counters();
  standin.release('PullKvBlocks');
  const codes = new Set((await ends).map(({ reason }) => reason.code));
  await dist.kvCacheManager.deallocateCache(cache);
  process.stdout.write(JSON.stringify({ done, threadsInside, codes: [...codes] }));
}

void main();

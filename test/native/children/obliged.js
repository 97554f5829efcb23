'use strict';

// Asks a library that gives what it is asked for, and prints what came of it.

const path = require('node:path');

const lib = path.dirname(process.env.DATADIST_TEST_COMPILED);
const { LLMException } = require(path.join(lib, 'exception.js'));
const { createNativeBackend } = require(path.join(lib, 'backend/native.js'));

const INT64S = [-(2n ** 63n), -1n, 0n, 2n ** 53n + 1n, 2n ** 63n - 1n];
const EXT = { srcLayerRange: [0, 1], dstLayerRange: [2, 3], tensorNumPerLayer: 2 };
const DESC = { placement: 1, numTensors: 1, dataType: 3, shape: [1n] };
const CACHE = { cacheId: 1n, tensorAddrs: BigUint64Array.of(1n), desc: DESC };
const INDEX = { clusterId: 1n, cacheId: 1n, batchIndex: 0 };
const LIST = BigUint64Array.of(1n);

/** Two clusters; the first one tells the library which status to answer with. */
function clusters(status) {
  const address = { ip: '127.0.0.1', port: 1 };
  const each = { remoteRoleType: status, localIpInfos: [address], remoteIpInfos: [address, address] };
  return [
    { ...each, remoteClusterId: 11n },
    { ...each, remoteClusterId: 12n },
  ];
}

async function outcome(call) {
  try {
    return { value: await call() };
  } catch (error) {
    if (!(error instanceof LLMException)) throw error;
    return { statusCode: error.statusCode, results: error.results };
  }
}

async function main() {
  const backend = createNativeBackend(1n, 1, { allowMultipleInstances: false });
  const answers = { link: [], unlink: [], allocated: [], registered: [], transfers: [] };
  for (const status of [0, 9]) {
    for (const count of [0, 1, 2, 5]) {
      answers.link.push(await outcome(() => backend.linkLlmClusters(clusters(status), count)));
      answers.unlink.push(await outcome(() => backend.unlinkLlmClusters(clusters(status), count, true)));
    }
  }
  for (const cacheId of INT64S) {
    const shape = [cacheId, ...INT64S];
    answers.allocated.push(await outcome(() => backend.allocateCache({ ...DESC, numTensors: 2, shape })));
    const addrs = BigUint64Array.of(BigInt.asUintN(64, cacheId));
    answers.registered.push(await outcome(() => backend.registerKvCache(DESC, addrs)));
  }
  for (const call of [
    () => backend.copyKvCache(CACHE, CACHE, 0, 0, 0n, -1n),
    () => backend.copyKvBlocks(CACHE, CACHE, LIST, [LIST]),
    () => backend.pullKvCache(INDEX, CACHE, 0, -1n, EXT),
    () => backend.pullKvBlocks(INDEX, CACHE, LIST, LIST, EXT),
    () => backend.pushKvCache(CACHE, INDEX, 0, -1n, EXT),
    () => backend.pushKvBlocks(CACHE, INDEX, LIST, LIST, EXT),
  ]) {
    answers.transfers.push(await outcome(call));
  }
  const decimal = (_, value) =>
    typeof value === 'bigint' ? String(value) : value instanceof BigUint64Array ? Array.from(value, String) : value;
  process.stdout.write(JSON.stringify(answers, decimal));
}

main();

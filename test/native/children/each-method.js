'use strict';

// Calls each method of the library in turn, on an instance that is initialised, and prints what came of each.

const path = require('node:path');

const lib = path.dirname(process.env.DATADIST_TEST_COMPILED);
const { DEFAULT_CACHE_DESC: DESC, DEFAULT_EXT_PARAM: EXT, LLMException } = require(path.join(lib, 'index.js'));
const { createNativeBackend } = require(path.join(lib, 'backend/native.js'));

const CACHE = { cacheId: 1n, tensorAddrs: new BigUint64Array(0), desc: DESC };
const INDEX = { clusterId: 5n, cacheId: 1n, batchIndex: 0 };
const LIST = BigUint64Array.of(1n);
const ADDRESS = [{ ip: '127.0.0.1', port: 26_000 }];
const CLUSTER = { remoteClusterId: 5n, remoteRoleType: 0, localIpInfos: ADDRESS, remoteIpInfos: ADDRESS };

const CALLS = {
  Initialize: (backend) => backend.initialize({ 'llm.DeviceId': '0' }),
  SetRole: (backend) => backend.setRole(2, {}),
  AllocateCache: (backend) => backend.allocateCache({ ...DESC, shape: [1n] }),
  DeallocateCache: (backend) => backend.deallocateCache(1n),
  CopyKvCache: (backend) => backend.copyKvCache(CACHE, CACHE, 0, 0, 0n, -1n),
  CopyKvBlocks: (backend) => backend.copyKvBlocks(CACHE, CACHE, LIST, [LIST]),
  RegisterKvCache: (backend) => backend.registerKvCache({ ...DESC, shape: [1n] }, LIST),
  UnregisterKvCache: (backend) => backend.unregisterKvCache(1n),
  LinkLlmClusters: (backend) => backend.linkLlmClusters([CLUSTER], 1000),
  PullKvCache: (backend) => backend.pullKvCache(INDEX, CACHE, 0, -1n, EXT),
  PullKvBlocks: (backend) => backend.pullKvBlocks(INDEX, CACHE, LIST, LIST, EXT),
  PushKvCache: (backend) => backend.pushKvCache(CACHE, INDEX, 0, -1n, EXT),
  PushKvBlocks: (backend) => backend.pushKvBlocks(CACHE, INDEX, LIST, LIST, EXT),
  UnlinkLlmClusters: (backend) => backend.unlinkLlmClusters([CLUSTER], 1000, true),
  Finalize: (backend) => backend.finalize(),
};

async function main() {
  const backend = createNativeBackend(1n, 1, { allowMultipleInstances: false });
  const outcomes = {};
  for (const [method, call] of Object.entries(CALLS)) {
    try {
      await call(backend);
      outcomes[method] = 'LLM_SUCCESS';
    } catch (error) {
      if (!(error instanceof LLMException)) throw error;
      outcomes[method] = `${error.code}: ${error.message}`;
    }
  }
  process.stdout.write(JSON.stringify(outcomes));
}

main();

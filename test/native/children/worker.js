'use strict';

// A worker that makes instances and calls their methods as it is told, one message for one call.

const { setImmediate } = require('node:timers');
const { parentPort, workerData } = require('node:worker_threads');

const lib = require(workerData.lib);
const { LLMDataDist, LLMException } = lib;

const instances = new Map();
const caches = new Map();

const COMMANDS = {
  make: (name, role, clusterId, options) => {
    instances.set(name, new LLMDataDist(role, clusterId, { backend: 'native', ...options }));
  },
  init: (name, options) => instances.get(name).init(options),
  finalize: (name) => instances.get(name).finalize(),
  link: (name, clusters) => instances.get(name).linkClusters(clusters),
  allocateMemory: async (name, bytes) => (await instances.get(name).allocateMemory(bytes)).address,
  /** A cache whose bytes are all alike; the key that a peer needs. */
  cache: async (name, desc, byte) => {
    const cache = await instances.get(name).kvCacheManager.allocateCache(desc);
    for (const region of cache.regions) await region.write(new Uint8Array(Number(region.byteLength)).fill(byte));
    caches.set(name, cache);
    return { ...cache.key() };
  },
  /** Pulls two blocks into the cache that was made last; the bytes that are in it then. */
  pull: async (name, key) => {
    const cache = caches.get(name);
    await instances.get(name).kvCacheManager.pullBlocks(key, cache, [0, 1], [0, 1]);
    return Promise.all(cache.regions.map((region) => region.read()));
  },
  /** Fails outside of any call that somebody waits for. */
  crash: (name, key) => {
    void instances.get(name).kvCacheManager.pullBlocks(key, 1n, [], []);
  },
  /** Waits for no more messages, when this one is answered. */
  leave: () => {
    setImmediate(() => parentPort.close());
  },
};

parentPort.on('message', async ({ id, command, args }) => {
  try {
    parentPort.postMessage({ id, value: await COMMANDS[command](...args) });
  } catch (error) {
    // What becomes of the error on the way is what some tests are about.
    const here = { isException: error instanceof LLMException, isError: error instanceof Error };
    parentPort.postMessage({ id, error, here });
  }
});

'use strict';

// The calls that can be in flight: what has to be there, the call, and the function of the library that it is inside of.

const nodes = require('./nodes');

const { DESC, PROMPT, PROMPT_CLUSTER, TENSOR_BYTES, initialisedNodes, linkedNodes, listeningNode, twoNodes } = nodes;

const REGION_BYTES = 4096;
const BLOCKS = [1, 2, 3];

const manager = ({ decoder }) => decoder.kvCacheManager;
const key = ({ promptCache }) => ({ clusterId: PROMPT, cacheId: promptCache.cacheId, batchIndex: 0 });

async function withRegion(options) {
  const all = await twoNodes(options);
  return { ...all, region: await all.decoder.allocateMemory(REGION_BYTES) };
}

function register({ region, decoder }) {
  const { address } = region;
  return decoder.kvCacheManager.registerCache(DESC, [address, address + BigInt(TENSOR_BYTES)]);
}

const OPERATIONS = {
  init: {
    setScene: listeningNode,
    call: (all) => all.decoder.init({ deviceId: 1 }),
    method: 'Initialize',
  },
  finalize: {
    setScene: initialisedNodes,
    call: (all) => all.decoder.finalize(),
    method: 'Finalize',
  },
  switchRole: {
    setScene: twoNodes,
    call: (all) => all.decoder.switchRole(3),
    method: 'SetRole',
  },
  linkClusters: {
    setScene: twoNodes,
    call: (all) => all.decoder.linkClusters([PROMPT_CLUSTER], { timeout: 1 }),
    method: 'LinkLlmClusters',
  },
  unlinkClusters: {
    setScene: linkedNodes,
    call: (all) => all.decoder.unlinkClusters([PROMPT_CLUSTER], { timeout: 1 }),
    method: 'UnlinkLlmClusters',
  },
  registerCache: {
    setScene: withRegion,
    call: register,
    method: 'RegisterKvCache',
  },
  unregisterCache: {
    setScene: twoNodes,
    call: (all) => manager(all).unregisterCache(all.decoderCache),
    method: 'UnregisterKvCache',
  },
  pullCache: {
    setScene: linkedNodes,
    call: (all) => manager(all).pullCache(key(all), all.decoderCache),
    method: 'PullKvCache',
  },
  pullBlocks: {
    setScene: linkedNodes,
    call: (all) => manager(all).pullBlocks(key(all), all.decoderCache, BLOCKS, BLOCKS),
    method: 'PullKvBlocks',
  },
  pushCache: {
    setScene: linkedNodes,
    call: (all) => manager(all).pushCache(key(all), all.decoderCache),
    method: 'PushKvCache',
  },
  pushBlocks: {
    setScene: linkedNodes,
    call: (all) => manager(all).pushBlocks(key(all), all.decoderCache, BLOCKS, BLOCKS),
    method: 'PushKvBlocks',
  },
  allocateMemory: {
    setScene: initialisedNodes,
    call: (all) => all.decoder.allocateMemory(REGION_BYTES),
    method: 'aclrtMalloc',
  },
  write: {
    setScene: withRegion,
    call: ({ region }) => region.write(new Uint8Array(REGION_BYTES)),
    method: 'aclrtMemcpy',
  },
  read: {
    setScene: withRegion,
    call: ({ region }) => region.read(),
    method: 'aclrtMemcpy',
  },
  free: {
    setScene: withRegion,
    call: ({ region }) => region.free(),
    method: 'aclrtFree',
  },
};

module.exports = { OPERATIONS, BLOCKS, key };

'use strict';

// A pull does not come back from the library, and its peer does: its unlink, or its forced link, waits for that pull with the
// table of all links locked. Prints how each call ends.

const { setImmediate } = require('node:timers');
const nodes = require('./nodes');
const { outcomeOf } = require('./outcome');

const [request] = process.argv.slice(2);

/** Far more than the calls take that are not given up, also where everything is twenty times as slow. */
const HANG_TIMEOUT_MS = 2000;
const OTHER = 3n;
const THIRD = 4n;

function cluster(id) {
  const port = nodes.PROMPT_PORT + 10 * Number(id);
  return {
    remoteClusterId: id,
    remoteIpInfos: [{ ip: '127.0.0.1', port }],
    localIpInfos: [{ ip: '127.0.0.1', port: port + 1 }],
  };
}

async function peer(id) {
  const dist = new nodes.lib.LLMDataDist(nodes.lib.LLMRole.PROMPT, id, {
    backend: 'native',
    allowMultipleInstances: true,
  });
  await dist.init({ deviceId: Number(id), listenIpInfo: `127.0.0.1:${cluster(id).remoteIpInfos[0].port}` });
  await dist.kvCacheManager.allocateCache(nodes.DESC);
  return dist;
}

async function main() {
  const standin = nodes.standIn();
  const { decoder, decoderCache } = await nodes.linkedNodes({ hangTimeout: HANG_TIMEOUT_MS });
  const peers = [await peer(OTHER), await peer(THIRD)];
  await decoder.linkClusters([cluster(OTHER)]);
  const { kvCacheManager: caches } = decoder;
  const pull = (clusterId, row) => caches.pullBlocks({ clusterId, cacheId: 1n }, decoderCache, [0], [row]);
  const push = (clusterId, row) => caches.pushBlocks({ clusterId, cacheId: 1n }, decoderCache, [row], [0]);
  const calls = {};
  const releases = {};
  const start = (name, promise) => {
    calls[name] = outcomeOf(promise);
    promise.catch(({ released }) => {
      releases[name] = released?.then(
        () => 'released',
        ({ recovery }) => recovery,
      );
    });
  };

  standin.set('PullKvBlocks', { block: true, inTransport: true, times: 1, cluster: nodes.PROMPT });
  start('pull', pull(nodes.PROMPT, 0));
  await nodes.inside(standin, 'PullKvBlocks');
  standin.run(`peer ${nodes.PROMPT} ${request}`);
  while (standin.counters().lockedTables === 0) await new Promise((resolve) => setImmediate(resolve));

  start('behind', pull(nodes.PROMPT, 1));
  start('pullOfOther', pull(OTHER, 2));
  start('pushToOther', push(OTHER, 3));
  await Promise.all(Object.values(calls));
  start('link', decoder.linkClusters([cluster(THIRD)], { timeout: 1 }));
  start('unlink', decoder.unlinkClusters([nodes.PROMPT_CLUSTER], { timeout: 1, force: true }));
  const answer = {};
  for (const [name, call] of Object.entries(calls)) answer[name] = await call;
  answer.finalize = await outcomeOf(decoder.finalize());
  answer.isLost = decoder.isLost;
  answer.later = await outcomeOf(pull(OTHER, 2));
  answer.released = {};
  for (const [name, released] of Object.entries(releases)) answer.released[name] = await released;
  answer.peers = peers.map(({ isLost }) => isLost);
  process.stdout.write(JSON.stringify(answer));
}

void main();

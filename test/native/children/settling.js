'use strict';

// Settles results of the addon while the program's own code gets in their way: getters `then`, setters on the
// prototypes, exceptions that cannot be read, an exit in the middle. Prints what came of the calls, or what came of the
// worker in which they were made.

const { setImmediate } = require('node:timers');
const { Worker, isMainThread, workerData } = require('node:worker_threads');

const { DECODER, DESC, PROMPT_CLUSTER, decoder, linkedNodes, standIn } = require('./nodes');

const [, , kindName, whereName] = isMainThread ? process.argv : [undefined, undefined, ...workerData];

/** What a getter `then` does. */
const THEN = {
  throws: () => {
    throw new Error('then');
  },
  'throws a primitive': () => {
    throw 'then';
  },
  'throws what cannot be looked at': () => {
    const trap = () => {
      throw new Error('trap');
    };
    throw new Proxy({}, { has: trap, get: trap, getPrototypeOf: trap });
  },
  'resolves twice': () => (resolve, reject) => {
    resolve(1);
    resolve(2);
    reject(new Error('then'));
  },
  'never resolves but throws late': () => () => {
    throw new Error('then');
  },
  collects: () => {
    globalThis.gc();
  },
  're-enters': () => {
    // Bounded: the result of the inner call has the getter too.
    if (depth < 3) {
      depth += 1;
      inner.push(
        decoder({})
          .init({ deviceId: 7 })
          .catch(() => undefined),
      );
    }
  },
  exits: () => process.exit(3),
};

let depth = 0;
const inner = [];

const PROTOTYPES = { Array: Array.prototype, Object: Object.prototype, Uint8Array: Uint8Array.prototype };

/** Gets in the way of results, until what it gives is called. */
function obstruct(kind, where) {
  if (kind === 'setters') {
    const properties = [
      'operation',
      'message',
      'detail',
      'clusterId',
      'cacheId',
      'results',
      'statusCode',
      'remoteClusterId',
    ];
    const throws = () => {
      throw new Error('setter');
    };
    for (const name of properties) Object.defineProperty(Object.prototype, name, { set: throws, configurable: true });
    Object.defineProperty(Array.prototype, '0', { set: throws, configurable: true });
    return () => {
      for (const name of properties) delete Object.prototype[name];
      delete Array.prototype[0];
    };
  }
  Object.defineProperty(PROTOTYPES[where], 'then', { get: THEN[kind], configurable: true });
  return () => {
    delete PROTOTYPES[where].then;
  };
}

async function main() {
  const standin = standIn();
  const { prompt, decoder: node, promptCache, decoderCache } = await linkedNodes();
  const region = decoderCache.regions[0];
  const manager = node.kvCacheManager;
  const key = { clusterId: 1n, cacheId: promptCache.cacheId };
  standin.set('PullKvCache', { status: 0x5010b005 });
  process.stdout.write('ready\n');
  const release = obstruct(kindName, whereName);
  const calls = [
    () => region.read(),
    () => manager.pullBlocks(key, decoderCache, [1], [2]),
    () => manager.pullCache(key, decoderCache),
    () => node.linkClusters([PROMPT_CLUSTER]),
    () => node.unlinkClusters([PROMPT_CLUSTER]),
  ];
  let left = calls.length;
  const settle = () => {
    left -= 1;
  };
  for (const call of calls) call().then(settle, settle);
  // An await of anything would look for `then` as well.
  const wait = () => {
    if (left > 0) return void setImmediate(wait);
    release();
    void finish();
  };
  wait();

  async function finish() {
    await Promise.all(inner);
    standin.unset('PullKvCache');
    await node.unlinkClusters([PROMPT_CLUSTER], { force: true });
    await prompt.unlinkClusters([{ ...PROMPT_CLUSTER, remoteClusterId: DECODER }], { force: true });
    const [{ statusCode }] = await node.linkClusters([PROMPT_CLUSTER]);
    await manager.pullBlocks(key, decoderCache, [1], [2]);
    const { length } = await region.read();
    await node.unlinkClusters([PROMPT_CLUSTER]);
    process.stdout.write(`settled ${statusCode} ${length === DESC.shape[0] * DESC.shape[1]}\n`);
    for (const cache of [promptCache, decoderCache])
      await (cache === promptCache ? prompt : node).kvCacheManager.deallocateCache(cache);
    await node.finalize();
    await prompt.finalize();
    process.stdout.write('finalized\n');
  }
}

function inWorker() {
  const worker = new Worker(process.argv[1], { workerData: [kindName, whereName] });
  worker.on('error', (error) => {
    throw error;
  });
  worker.on('exit', (code) => process.stdout.write(`worker ${code}\n`));
}

if (isMainThread && process.argv[4] === 'in a worker') inWorker();
else void main();

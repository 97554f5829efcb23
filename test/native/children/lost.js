'use strict';

// A call does not come back from the library in time, and the instance is lost. Prints how each call ends.
//
//   lost.js OPERATION hang|late THREADS

const { setImmediate } = require('node:timers/promises');
const { PROMPT, PROMPT_CLUSTER, inside, native, standIn } = require('./nodes');
const { OPERATIONS } = require('./operations');
const { outcomeOf } = require('./outcome');

const [operation, mode, threads] = process.argv.slice(2);

/** Far more than the calls take that are not given up, also where everything is twenty times as slow. */
const HANG_TIMEOUT_MS = 2000;

/** A cluster without an instance. */
const NOBODY = { ...PROMPT_CLUSTER, remoteClusterId: 99n, remoteIpInfos: [{ ip: '127.0.0.1', port: 26_099 }] };

async function main() {
  const standin = standIn();
  const { setScene, call, method } = OPERATIONS[operation];
  const backend = (clusterId, role) =>
    native.createNativeBackend(clusterId, role, { allowMultipleInstances: true, threads: Number(threads) });
  const all = await setScene({ backend, hangTimeout: HANG_TIMEOUT_MS });
  const { prompt, decoder } = all;
  standin.set(method, { times: 1, ...(mode === 'late' ? { block: true } : { hang: true }) });
  const rejections = [];
  process.on('unhandledRejection', (error) => rejections.push(String(error)));

  const hanging = outcomeOf(call(all));
  await inside(standin, method);
  // Of the same instance, and of another one that needs the same lock.
  const waiting = outcomeOf(decoder.linkClusters([NOBODY], { timeout: 1 }));
  const waitingOther = outcomeOf(prompt.linkClusters([NOBODY], { timeout: 1 }));
  const answer = { hanging: await hanging, waiting: await waiting, waitingOther: await waitingOther };
  answer.isLost = decoder.isLost;
  answer.pull = await outcomeOf(
    decoder.kvCacheManager.pullCache({ clusterId: PROMPT, cacheId: 1n, batchIndex: 0 }, 1n),
  );
  answer.init = await outcomeOf(decoder.init({ deviceId: 1 }));
  answer.finalize = await outcomeOf(decoder.finalize());
  answer.dispose = await outcomeOf(decoder[Symbol.asyncDispose]());
  answer.other = await outcomeOf(prompt.linkClusters([NOBODY], { timeout: 1 }));

  if (mode === 'late') {
    // It is refused before the library is called, and takes effect later.
    if (answer.waitingOther.recovery === 'fatal') answer.barred = await outcomeOf(prompt.finalize());
    standin.release(method);
    // Until the call has come back, and what it held is free.
    do {
      await setImmediate();
      answer.other = await outcomeOf(prompt.linkClusters([NOBODY], { timeout: 1 }));
    } while (answer.other.recovery === 'fatal');
    answer.finalizeOther = await outcomeOf(prompt.finalize());
  }
  answer.rejections = rejections;
  process.stdout.write(JSON.stringify(answer));
}

void main();

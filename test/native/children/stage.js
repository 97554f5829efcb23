'use strict';

// The process, the worker or the instance ends at some stage of life, with nothing in flight.
//
//   stage.js STAGE ENDING

const { endAfter } = require('./endings');
const nodes = require('./nodes');

const [stage, ending] = process.argv.slice(2);

/** Far more than the calls take that are not given up, also where everything is twenty times as slow. */
const HANG_TIMEOUT_MS = 2000;

const STAGES = {
  'nothing is loaded': () => ({}),
  'the library is open': () => {
    if (nodes.native.openNative().create === undefined) throw new Error('the library cannot be opened');
    return {};
  },
  'it is constructed': () => ({ decoder: nodes.decoder() }),
  'it is initialised': () => nodes.twoNodes(),
  'it is linked': () => nodes.linkedNodes(),
  'it is finalized': () => finalized(),
  'it is initialised again': async () => {
    const { prompt, decoder } = await finalized();
    await prompt.init({ deviceId: 0, listenIpInfo: `127.0.0.1:${nodes.PROMPT_PORT}` });
    await decoder.init({ deviceId: 1 });
    await decoder.linkClusters([nodes.PROMPT_CLUSTER]);
    return { prompt, decoder };
  },
  'it is lost': async () => {
    const { decoder } = await nodes.twoNodes({ hangTimeout: HANG_TIMEOUT_MS });
    nodes.standIn().set('LinkLlmClusters', { hang: true });
    await decoder.linkClusters([nodes.PROMPT_CLUSTER], { timeout: 1 }).catch(() => undefined);
    if (!decoder.isLost) throw new Error('the instance is not lost');
    return {};
  },
};

async function finalized() {
  const { prompt, decoder, promptCache, decoderCache } = await nodes.linkedNodes();
  await decoder.unlinkClusters([nodes.PROMPT_CLUSTER]);
  await decoder.kvCacheManager.deallocateCache(decoderCache);
  await prompt.switchRole(1);
  await prompt.kvCacheManager.deallocateCache(promptCache);
  await decoder.finalize();
  await prompt.finalize();
  return { prompt, decoder };
}

async function start() {
  const all = await STAGES[stage]();
  return ending === 'garbage collection' ? {} : all;
}

const warned = [];
process.on('warning', ({ name }) => warned.push(name));
// What listens or is linked is not collected: only a decoder without links is.
const collected = { 'it is initialised': 1 };
void endAfter(start, ending, { isCollected: () => warned.length === (collected[stage] ?? 0) });

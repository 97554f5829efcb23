'use strict';

// What the child programs share: the compiled package, the stand-in's controls, and two instances that can link.

const path = require('node:path');
const { control } = require('../standin/control');

const lib = require(process.env.DATADIST_TEST_COMPILED);
const native = require(path.join(path.dirname(process.env.DATADIST_TEST_COMPILED), 'backend', 'native.js'));
const { DataType, LLMDataDist, LLMRole } = lib;

const runtime = path.join(path.dirname(process.env.LLM_DATADIST_LIBRARY), 'libascendcl.so');

/** Two tensors of eight rows of 64 bytes. */
const DESC = { numTensors: 2, dataType: DataType.DT_INT8, shape: [8, 64] };
const TENSOR_BYTES = 512;

const PROMPT = 1n;
const DECODER = 2n;
const PROMPT_PORT = 26_000;
const PROMPT_CLUSTER = {
  remoteClusterId: PROMPT,
  remoteIpInfos: [{ ip: '127.0.0.1', port: PROMPT_PORT }],
  localIpInfos: [{ ip: '127.0.0.1', port: PROMPT_PORT + 1 }],
};

/** Hazards and journal are what the parent asked for in the environment. */
function standIn() {
  return control(runtime, { load: true });
}

function prompt(options) {
  return new LLMDataDist(LLMRole.PROMPT, PROMPT, { backend: 'native', allowMultipleInstances: true, ...options });
}

function decoder(options) {
  return new LLMDataDist(LLMRole.DECODER, DECODER, { backend: 'native', allowMultipleInstances: true, ...options });
}

/** The prompt listens, the decoder is not initialised. */
async function listeningNode(options) {
  const nodes = { prompt: prompt(options), decoder: decoder(options) };
  await nodes.prompt.init({ deviceId: 0, listenIpInfo: `127.0.0.1:${PROMPT_PORT}` });
  return nodes;
}

/** Both are initialised, only the prompt listens. */
async function initialisedNodes(options) {
  const nodes = await listeningNode(options);
  await nodes.decoder.init({ deviceId: 1 });
  return nodes;
}

/** As above, with a cache each. */
async function twoNodes(options) {
  const nodes = await initialisedNodes(options);
  const promptCache = await nodes.prompt.kvCacheManager.allocateCache(DESC);
  const decoderCache = await nodes.decoder.kvCacheManager.allocateCache(DESC);
  return { ...nodes, promptCache, decoderCache };
}

async function linkedNodes(options) {
  const nodes = await twoNodes(options);
  await nodes.decoder.linkClusters([PROMPT_CLUSTER]);
  return nodes;
}

/** Waits until a call of `method` is inside that came after `method` was given something to do. */
function inside(standin, method, count = 1) {
  return standin.waitEntered(method, count, 600_000);
}

module.exports = {
  lib,
  native,
  DESC,
  TENSOR_BYTES,
  PROMPT,
  DECODER,
  PROMPT_PORT,
  PROMPT_CLUSTER,
  standIn,
  prompt,
  decoder,
  listeningNode,
  initialisedNodes,
  twoNodes,
  linkedNodes,
  inside,
};

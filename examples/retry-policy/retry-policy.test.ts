/**
 * A unit test of a retry policy: decoders pull, and what they do after a failure is what `error.recovery` says.
 *
 * The policy is in `peer-link.ts`. The tests show that a lost link is made again once for all requests that fail with it, also
 * when the prompt has restarted; that a stale key costs a new key and no link; and that what no repetition cures is passed on.
 */
import type { KvCache, LLMClusterInfo } from 'llm-datadist';
import { DataType, LLMDataDist, LLMRole } from 'llm-datadist';
import { createFabric } from 'llm-datadist/testing';
import type { TestFabric } from 'llm-datadist/testing';
import { PeerLink } from './peer-link';

const DESC = { numTensors: 4, dataType: DataType.DT_INT8, shape: [64, 64] };
const PROMPT: LLMClusterInfo = { remoteClusterId: 1n, remoteIpInfos: [{ ip: '10.0.0.1', port: 26000 }] };
const REQUESTS = 32;

let fabric: TestFabric;
beforeEach(() => {
  fabric = createFabric({ clock: 'real' });
});
afterEach(() => {
  fabric.close();
});

async function startPrompt(value: number) {
  const prompt = new LLMDataDist(LLMRole.PROMPT, 1n, { backend: fabric.backend });
  await prompt.init({ deviceId: 0, listenIpInfo: '10.0.0.1:26000' });
  const cache = await prompt.kvCacheManager.allocateCache(DESC);
  for (const region of cache.regions ?? []) await region.write(new Uint8Array(64 * 64).fill(value));
  return { prompt, cache };
}

async function cluster() {
  let { prompt, cache } = await startPrompt(1);
  const decoder = new LLMDataDist(LLMRole.DECODER, 2n, { backend: fabric.backend });
  await decoder.init({ deviceId: 1, listenIpInfo: '10.0.0.2:26000' });
  const target: KvCache = await decoder.kvCacheManager.allocateCache(DESC);
  // What the prompt would answer over the orchestrator's own channel.
  const report = () => Promise.resolve({ ...PROMPT, life: prompt.life });
  const link = new PeerLink(decoder, report);
  await link.open();
  const askForKey = () => Promise.resolve(cache.key());
  const pull = (block: number, key = askForKey) =>
    link.transfer(key, (caches, from) => caches.pullBlocks(from, target, [block], [block]));
  const restart = async () => {
    fabric.kill(prompt);
    fabric.restart(prompt);
    ({ prompt, cache } = await startPrompt(2));
  };
  const calls = (op: string) => fabric.history.filter((call) => call.node === 2n && call.op === op);
  return { decoder, target, pull, restart, calls, oldKey: cache.key() };
}

test('a lost link is made again, and the pull repeated', async () => {
  const { pull, calls } = await cluster();
  await pull(0);
  const fault = fabric.inject({ op: 'pullBlocks', peer: 1n, times: 1, status: 'LLM_TIMEOUT' });

  await pull(1);

  expect(fault.hits).toBe(1);
  expect(calls('pullBlocks').map(({ code }) => code)).toEqual(['LLM_SUCCESS', 'LLM_TIMEOUT', 'LLM_SUCCESS']);
  expect(calls('unlinkClusters')).toHaveLength(1);
  expect(calls('linkClusters')).toHaveLength(2);
});

test('32 requests whose prompt restarts relink once, and get the bytes of its new life', async () => {
  const { target, pull, restart, calls } = await cluster();
  fabric.inject({ op: 'pullBlocks', times: REQUESTS, delayMs: 20 });
  const pulls = Array.from({ length: REQUESTS }, (_, block) => pull(block));
  await restart();

  await Promise.all(pulls);

  expect(calls('unlinkClusters')).toHaveLength(1);
  expect(calls('linkClusters').map(({ code }) => code)).toEqual(['LLM_SUCCESS', 'LLM_SUCCESS']);
  const blocks = await target.readBlocks(Array.from({ length: REQUESTS }, (_, block) => block));
  expect(blocks.every((byte) => byte === 2)).toBe(true);
});

test('a request that failed over an older link does not make the new one again', async () => {
  const { pull, calls } = await cluster();
  // The first request fails at once, the second one 30 ms later, and both over the first link.
  fabric.inject({ op: 'pullBlocks', times: 1, status: 'LLM_TIMEOUT' });
  fabric.inject({ op: 'pullBlocks', times: 1, delayMs: 30, status: 'LLM_TIMEOUT', hold: 'call' });

  await Promise.all([pull(0), pull(1)]);

  expect(calls('unlinkClusters')).toHaveLength(1);
  expect(calls('pullBlocks').filter(({ code }) => code === 'LLM_SUCCESS')).toHaveLength(2);
});

test('a stale key costs a new key, and the link of the others stays', async () => {
  const { pull, calls, oldKey } = await cluster();
  await pull(0);
  const keys = [{ ...oldKey, cacheId: 99n }, oldKey];

  await pull(0, () => Promise.resolve(keys.shift() ?? oldKey));

  expect(keys).toEqual([]);
  expect(calls('unlinkClusters')).toEqual([]);
});

test('a key of the next life makes the link anew where nothing else has noticed the restart', async () => {
  const { pull, restart, calls, target } = await cluster();
  await pull(0);
  await restart();

  await Promise.all([pull(1), pull(2)]);

  expect(calls('unlinkClusters')).toHaveLength(1);
  expect(calls('linkClusters')).toHaveLength(2);
  expect((await target.readBlocks([1, 2])).every((byte) => byte === 2)).toBe(true);
});

test('what no repetition cures is not repeated', async () => {
  const { pull } = await cluster();
  const fault = fabric.inject({ op: 'pullBlocks', status: 'LLM_PARAM_INVALID' });

  await expect(pull(0)).rejects.toMatchObject({ code: 'LLM_PARAM_INVALID', recovery: 'fix-input' });

  expect(fault.hits).toBe(1);
});

test('after three attempts the failure is passed on', async () => {
  const { pull } = await cluster();
  const fault = fabric.inject({ op: 'pullBlocks', status: 'LLM_TIMEOUT' });

  await expect(pull(0)).rejects.toMatchObject({ code: 'LLM_TIMEOUT' });

  expect(fault.hits).toBe(3);
});

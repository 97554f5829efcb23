/**
 * A unit test of a retry policy: a decoder pulls, and what it does after a failure is what `error.recovery` says.
 *
 * The fabric makes the second pull fail as a lost link does. The test shows that the policy unlinks, links again and repeats
 * the pull, that it gives up what no repetition cures, and that it gives up after three attempts.
 */
import type { KvCache, LLMClusterInfo } from 'llm-datadist';
import { DataType, LLMDataDist, LLMException, LLMRole } from 'llm-datadist';
import { createFabric } from 'llm-datadist/testing';
import type { TestFabric } from 'llm-datadist/testing';

const ATTEMPTS = 3;

/** What is tested: part of an orchestrator. */
async function pullWithRetry(decoder: LLMDataDist, peer: LLMClusterInfo, source: KvCache, target: KvCache) {
  for (let attempt = 1; ; attempt++) {
    try {
      await decoder.kvCacheManager.pullBlocks(source.key(), target, [0, 1], [2, 3]);
      return;
    } catch (error) {
      if (!(error instanceof LLMException) || attempt === ATTEMPTS) throw error;
      if (error.recovery !== 'relink') throw error;
      await decoder.unlinkClusters([peer], { force: true });
      await decoder.linkClusters([peer]);
    }
  }
}

const DESC = { numTensors: 4, dataType: DataType.DT_BF16, shape: [8, 64] };
const PROMPT: LLMClusterInfo = { remoteClusterId: 1n, remoteIpInfos: [{ ip: '10.0.0.1', port: 26000 }] };

let fabric: TestFabric;
beforeEach(() => {
  fabric = createFabric();
});
afterEach(() => {
  fabric.close();
});

async function cluster() {
  const prompt = new LLMDataDist(LLMRole.PROMPT, 1n, { backend: fabric.backend });
  const decoder = new LLMDataDist(LLMRole.DECODER, 2n, { backend: fabric.backend });
  await prompt.init({ deviceId: 0, listenIpInfo: '10.0.0.1:26000' });
  await decoder.init({ deviceId: 1, listenIpInfo: '10.0.0.2:26000' });
  const source = await prompt.kvCacheManager.allocateCache(DESC);
  const target = await decoder.kvCacheManager.allocateCache(DESC);
  await decoder.linkClusters([PROMPT]);
  const pull = () => pullWithRetry(decoder, PROMPT, source, target);
  const calls = () => fabric.history.filter(({ node }) => node === 2n).map(({ op, code }) => `${op} ${code ?? ''}`);
  return { pull, calls };
}

test('a lost link is made again, and the pull repeated', async () => {
  const { pull, calls } = await cluster();
  await pull();
  const fault = fabric.inject({ op: 'pullBlocks', peer: 1n, times: 1, status: 'LLM_TIMEOUT' });

  await pull();

  expect(fault.hits).toBe(1);
  expect(calls().slice(-4)).toEqual([
    'pullBlocks LLM_TIMEOUT',
    'unlinkClusters LLM_SUCCESS',
    'linkClusters LLM_SUCCESS',
    'pullBlocks LLM_SUCCESS',
  ]);
});

test('what no repetition cures is not repeated', async () => {
  const { pull } = await cluster();
  const fault = fabric.inject({ op: 'pullBlocks', status: 'LLM_PARAM_INVALID' });

  await expect(pull()).rejects.toMatchObject({ code: 'LLM_PARAM_INVALID', recovery: 'fix-input' });

  expect(fault.hits).toBe(1);
});

test('after three attempts the failure is passed on', async () => {
  const { pull } = await cluster();
  const fault = fabric.inject({ op: 'pullBlocks', status: 'LLM_TIMEOUT' });

  await expect(pull()).rejects.toMatchObject({ code: 'LLM_TIMEOUT' });

  expect(fault.hits).toBe(3);
});

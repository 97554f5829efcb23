/**
 * Bring your own backend.
 *
 * The situation: your service wants to know how long each call of the library takes, and how it ends, on every machine. So
 * it puts a backend of its own between the package and whichever backend does the work (metered-backend.ts). What it must
 * not do is to change what the library does.
 *
 * What the tests show: `describeBackend` registers one test for each thing that a backend has to do, and one for each
 * recorded scenario. The decorator passes them all, over the mock here, and with `nativeBackends` in place of
 * `mockBackends` on a machine with an NPU.
 */
import { DataType, LLMDataDist, LLMRole } from 'llm-datadist';
import type { LLMClusterInfo } from 'llm-datadist';
import { describeBackend, mockBackends, shippedScenarios } from 'llm-datadist/conformance';
import type { BackendSource } from 'llm-datadist/conformance';
import { metered, Metrics } from './metered-backend';

/** Called once per test: each has a network of its own. */
const source: BackendSource = (settings) => {
  const { createBackend, freePorts } = mockBackends(settings);
  return { freePorts, createBackend: (clusterId, role) => metered(createBackend(clusterId, role), new Metrics()) };
};

describeBackend(
  'the metered backend',
  // Those that were made by hand. All are run where there is no choice.
  {
    source,
    scenarios: shippedScenarios().filter(({ tags }) => !tags.includes('random') && !tags.includes('differential')),
  },
  { test, expect, describe },
);

test('calls are counted by how they end', async () => {
  let ms = 0;
  const metrics = new Metrics(() => (ms += 5));
  const { createBackend } = mockBackends();
  const backend = (clusterId: bigint, role: number) => metered(createBackend(clusterId, role), metrics);
  await using prompt = new LLMDataDist(LLMRole.PROMPT, 1n, { backend });
  await using decoder = new LLMDataDist(LLMRole.DECODER, 2n, { backend });
  await prompt.init({ deviceId: 0, listenIpInfo: '127.0.0.1:26000' });
  await decoder.init({ deviceId: 1 });
  const desc = { numTensors: 2, dataType: DataType.DT_BF16, shape: [16, 128] };
  const from = await prompt.kvCacheManager.allocateCache(desc);
  const to = await decoder.kvCacheManager.allocateCache(desc);
  const cluster: LLMClusterInfo = {
    remoteClusterId: 1n,
    remoteIpInfos: [{ ip: '127.0.0.1', port: 26_000 }],
    localIpInfos: [{ ip: '127.0.0.1' }],
    life: prompt.life,
  };

  const early = decoder.kvCacheManager.pullBlocks(from.key(), to, [3], [0]);
  await expect(early).rejects.toMatchObject({ code: 'LLM_NOT_YET_LINK' });
  await decoder.linkClusters([cluster]);
  await decoder.kvCacheManager.pullBlocks(from.key(), to, [3, 7], [0, 1]);

  expect(metrics.of('initialize')).toEqual({ calls: 2, failures: {}, totalMs: 10, slowestMs: 5 });
  expect(metrics.of('pullKvBlocks')).toEqual({
    calls: 2,
    failures: { LLM_NOT_YET_LINK: 1 },
    totalMs: 10,
    slowestMs: 5,
  });
  expect(metrics.of('pushKvCache').calls).toBe(0);
  await decoder.unlinkClusters([cluster]);
  await decoder.kvCacheManager.deallocateCache(to);
  await prompt.kvCacheManager.deallocateCache(from);
});

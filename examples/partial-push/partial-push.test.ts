/**
 * A partial push: pushes go layer by layer, and the layers before the one that fails stay written.
 *
 * The fabric lets two layers of four through and then fails. The test shows what the decoder's memory holds then, and
 * that pushing the row again, after the link has been made again, leaves nothing of the half-written one behind.
 */
import type { LLMClusterInfo } from 'llm-datadist';
import { DataType, LLMDataDist, LLMRole } from 'llm-datadist';
import { createFabric } from 'llm-datadist/testing';

/** Four layers, K and V each; two rows of 16 bytes. */
const DESC = { numTensors: 8, dataType: DataType.DT_INT8, shape: [2, 16] };
const DECODER: LLMClusterInfo = { remoteClusterId: 2n, remoteIpInfos: [{ ip: '10.0.0.2', port: 26000 }] };

test('a push that fails half-way is repeated as a whole', async () => {
  using fabric = createFabric();
  const prompt = new LLMDataDist(LLMRole.PROMPT, 1n, { backend: fabric.backend });
  const decoder = new LLMDataDist(LLMRole.DECODER, 2n, { backend: fabric.backend });
  await prompt.init({ deviceId: 0, listenIpInfo: '10.0.0.1:26000' });
  await decoder.init({ deviceId: 1, listenIpInfo: '10.0.0.2:26000' });
  const source = await prompt.kvCacheManager.allocateCache(DESC);
  const target = await decoder.kvCacheManager.allocateCache(DESC);
  for (const region of source.regions ?? []) await region.write(new Uint8Array(32).fill(7));
  await prompt.linkClusters([{ ...DECODER, life: decoder.life }]);
  const push = () => prompt.kvCacheManager.pushCache(target.key(1), source, 0);
  /** The first byte of row 1 of every tensor of the decoder. */
  const received = async () => {
    const bytes: number[] = [];
    for (const region of target.regions ?? []) bytes.push(...(await region.read(16, 1)));
    return bytes;
  };

  fabric.inject({ op: 'pushCache', times: 1, partialLayers: 2, status: 'LLM_TIMEOUT' });
  await expect(push()).rejects.toMatchObject({ code: 'LLM_TIMEOUT', recovery: 'relink', layersCompleted: 2 });
  expect(await received()).toEqual([7, 7, 7, 7, 0, 0, 0, 0]);

  // One relink for all calls of the peer (examples/retry-policy), with the life that it leads now; by force, as it may be dead.
  await prompt.unlinkClusters([DECODER], { force: true });
  await prompt.linkClusters([{ ...DECODER, life: decoder.life }]);
  await push();
  expect(await received()).toEqual([7, 7, 7, 7, 7, 7, 7, 7]);
  fabric.assertNoPendingFaults();
});

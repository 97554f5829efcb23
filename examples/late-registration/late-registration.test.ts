/**
 * Late registration: a prompt registers a cache after a decoder has linked to it.
 *
 * Peers copy the list of caches once per link, so the decoder does not know the new one, and is told so until it links
 * again. A strict fabric, the default, refuses the registration itself, so that the mistake shows where it is made.
 */
import type { LLMClusterInfo } from 'llm-datadist';
import { DataType, LLMDataDist, LLMRole } from 'llm-datadist';
import { createFabric } from 'llm-datadist/testing';
import type { TestFabric } from 'llm-datadist/testing';

const DESC = { numTensors: 2, dataType: DataType.DT_INT8, shape: [4, 16] };
const PROMPT: LLMClusterInfo = { remoteClusterId: 1n, remoteIpInfos: [{ ip: '10.0.0.1', port: 26000 }] };

async function linkedPair(fabric: TestFabric) {
  const prompt = new LLMDataDist(LLMRole.PROMPT, 1n, { backend: fabric.backend });
  const decoder = new LLMDataDist(LLMRole.DECODER, 2n, { backend: fabric.backend });
  await prompt.init({ deviceId: 0, listenIpInfo: '10.0.0.1:26000' });
  await decoder.init({ deviceId: 1, listenIpInfo: '10.0.0.2:26000' });
  const early = await prompt.kvCacheManager.allocateCache(DESC);
  const target = await decoder.kvCacheManager.allocateCache(DESC);
  await decoder.linkClusters([{ ...PROMPT, life: prompt.life }]);
  await decoder.kvCacheManager.pullBlocks(early.key(), target, [0], [0]);
  return { prompt, decoder, target };
}

test('a cache that is registered after the link is unknown until the decoder links again', async () => {
  using fabric = createFabric({ strict: false });
  const { prompt, decoder, target } = await linkedPair(fabric);
  const late = await prompt.kvCacheManager.allocateCache(DESC);
  for (const region of late.regions ?? []) await region.write(new Uint8Array(64).fill(9));
  const pull = () => decoder.kvCacheManager.pullBlocks(late.key(), target, [1], [1]);

  await expect(pull()).rejects.toMatchObject({
    code: 'LLM_KV_CACHE_NOT_EXIST',
    cacheId: late.cacheId,
    remedy: expect.stringMatching(/relink once/i) as string,
  });

  // Once, for all that transfers with this peer: an unlink ends the link for every request.
  await decoder.unlinkClusters([PROMPT]);
  await decoder.linkClusters([{ ...PROMPT, life: prompt.life }]);
  await pull();
  for (const region of target.regions ?? []) expect(await region.read(16, 16)).toEqual(new Uint8Array(16).fill(9));
});

test('a strict fabric refuses the registration', async () => {
  using fabric = createFabric();
  const { prompt } = await linkedPair(fabric);

  await expect(prompt.kvCacheManager.allocateCache(DESC)).rejects.toMatchObject({ code: 'LLM_PARAM_INVALID' });

  expect(fabric.topology().nodes.find(({ node }) => node === 1n)?.caches).toHaveLength(1);
});

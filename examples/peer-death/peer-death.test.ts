/**
 * A peer dies in mid-transfer: the prompt is killed while a decoder pulls from it.
 *
 * The fabric makes the third pull slow, so that the test can kill the prompt while it is on its way. The pull fails, the
 * decoder still holds its end of the link, an unlink that asks the dead peer fails and one by force succeeds; when the
 * prompt has been started again the decoder links to the life that it has now, and gets every block with a new key. The old
 * key is refused: its cache id may name other memory now.
 */
import type { LLMClusterInfo } from 'llm-datadist';
import { DataType, LLMDataDist, LLMRole } from 'llm-datadist';
import { createFabric } from 'llm-datadist/testing';

const DESC = { numTensors: 4, dataType: DataType.DT_INT8, shape: [4, 32] };
const PROMPT: LLMClusterInfo = { remoteClusterId: 1n, remoteIpInfos: [{ ip: '10.0.0.1', port: 26000 }] };

test('the decoder survives the death of its prompt and goes on with the next one', async () => {
  using fabric = createFabric();
  const decoder = new LLMDataDist(LLMRole.DECODER, 2n, { backend: fabric.backend });
  await decoder.init({ deviceId: 1, listenIpInfo: '10.0.0.2:26000' });
  const target = await decoder.kvCacheManager.allocateCache(DESC);

  const startPrompt = async (value: number) => {
    const prompt = new LLMDataDist(LLMRole.PROMPT, 1n, { backend: fabric.backend });
    await prompt.init({ deviceId: 0, listenIpInfo: '10.0.0.1:26000' });
    const cache = await prompt.kvCacheManager.allocateCache(DESC);
    for (const region of cache.regions ?? []) await region.write(new Uint8Array(128).fill(value));
    // What the prompt reports over the orchestrator's own channel.
    return { key: cache.key(), peer: { ...PROMPT, life: prompt.life } };
  };
  const pull = ({ key }: Awaited<ReturnType<typeof startPrompt>>, block: number) =>
    decoder.kvCacheManager.pullBlocks(key, target, [block], [block]);

  const first = await startPrompt(1);
  await decoder.linkClusters([first.peer]);
  fabric.inject({ op: 'pullBlocks', peer: 1n, skip: 2, times: 1, delayMs: 10 });
  await pull(first, 0);
  await pull(first, 1);
  const third = pull(first, 2);
  await fabric.clock.advance(5);
  fabric.kill(1n);

  await expect(third).rejects.toMatchObject({ code: 'LLM_FAILED', operation: 'pullBlocks', clusterId: 1n });
  // The peer is asked, and there is nobody: the link stays.
  await expect(decoder.unlinkClusters([PROMPT])).rejects.toMatchObject({ code: 'LLM_UNLINK_FAILED' });
  await decoder.unlinkClusters([PROMPT], { force: true });

  fabric.restart(1n);
  const second = await startPrompt(2);
  await decoder.linkClusters([second.peer]);
  await expect(pull(first, 2)).rejects.toMatchObject({ code: 'LLM_PARAM_INVALID', recovery: 'stale-key' });
  for (const block of [2, 3]) await pull(second, block);

  // Blocks of 32 bytes: two of the first prompt, two of the second.
  for (const region of target.regions ?? []) {
    expect(await region.read()).toEqual(Uint8Array.from({ length: 128 }, (_, i) => (i < 64 ? 1 : 2)));
  }
  fabric.assertNoPendingFaults();
});

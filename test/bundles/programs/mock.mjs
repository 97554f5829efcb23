import { DataType, LLMDataDist, LLMRole } from 'llm-datadist';

// Two instances in memory link and move a block.
async function main() {
  const desc = { numTensors: 1, dataType: DataType.DT_INT8, shape: [4, 16] };
  const make = async (role, id, options) => {
    const dist = new LLMDataDist(role, id, { backend: 'mock' });
    await dist.init(options);
    return { dist, cache: await dist.kvCacheManager.allocateCache(desc) };
  };
  const prompt = await make(LLMRole.PROMPT, 1n, { deviceId: 0, listenIpInfo: '127.0.0.1:26000' });
  const decoder = await make(LLMRole.DECODER, 2n, { deviceId: 1 });
  await prompt.cache.regions[0].write(new Uint8Array(64).fill(7));
  const peer = {
    remoteClusterId: 1n,
    remoteIpInfos: [{ ip: '127.0.0.1', port: 26_000 }],
    localIpInfos: [{ ip: '127.0.0.1' }],
  };
  await decoder.dist.linkClusters([peer]);
  await decoder.dist.kvCacheManager.pullBlocks(prompt.cache.key(), decoder.cache, [1], [2]);
  const bytes = await decoder.cache.regions[0].read();
  console.log(`mock: ${bytes.filter((byte) => byte === 7).length} bytes from ${bytes.indexOf(7)}`);
  await decoder.dist.unlinkClusters([peer]);
  await decoder.dist.finalize();
  await prompt.dist.finalize();
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});

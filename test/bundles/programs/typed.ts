import { DataType, LLMDataDist, LLMException, LLMRole, Placement } from 'llm-datadist';
import type { CacheDesc, KvCache, LLMClusterInfo } from 'llm-datadist';
import { createFabric } from 'llm-datadist/testing';

async function main(): Promise<void> {
  const fabric = createFabric();
  const desc: CacheDesc = { numTensors: 1, dataType: DataType.DT_INT8, shape: [4, 16], placement: Placement.HOST };
  const dist = new LLMDataDist(LLMRole.PROMPT, 1n, { backend: fabric.backend });
  await dist.init({ deviceId: 0 });
  const cache: KvCache = await dist.kvCacheManager.allocateCache(desc);
  const address = { ip: '127.0.0.1', port: 26_000 };
  const nobody: LLMClusterInfo = { remoteClusterId: 2n, remoteIpInfos: [address], localIpInfos: [{ ip: '127.0.0.1' }] };
  try {
    await dist.linkClusters([nobody]);
  } catch (error) {
    if (!(error instanceof LLMException)) throw error;
    const { code, results }: { code: string; results?: { remoteClusterId: bigint }[] } = error;
    console.log(`typed: cache ${cache.cacheId}, ${code} of cluster ${results?.[0]?.remoteClusterId}`);
  }
  await dist.finalize();
}

void main();

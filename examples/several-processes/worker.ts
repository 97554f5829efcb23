/** A worker of the orchestrator: one instance in a separate process, which does what the orchestrator asks for. */
import type { CacheKeyByIdAndIndex, KvCache, LLMClusterInfo } from 'llm-datadist';
import { DataType, LLMDataDist, LLMException, LLMRole } from 'llm-datadist';

export interface Request {
  readonly call: 'start' | 'fill' | 'link' | 'relink' | 'pull' | 'read' | 'stop';
  readonly port?: number;
  readonly value?: number;
  /** The life that the prompt reports now: a key of another one is refused. */
  readonly life?: string;
  readonly key?: CacheKeyByIdAndIndex;
}

/** What a worker reports when it has started. */
export interface Started {
  readonly key: CacheKeyByIdAndIndex;
  readonly life: string;
}

/** What `call` gave, or the code of the exception and the way out that it names. */
export type Answer = { readonly value: unknown } | { readonly code: string; readonly recovery: string };

const BLOCK = 1024;
const [role = 'prompt', clusterId = '1'] = process.argv.slice(2);
const dist = new LLMDataDist(role === 'prompt' ? LLMRole.PROMPT : LLMRole.DECODER, BigInt(clusterId), {
  backend: 'mock',
});
let cache: KvCache | undefined;

async function perform({ call, port = 0, value = 0, life, key }: Request): Promise<unknown> {
  const peer: LLMClusterInfo = {
    remoteClusterId: 1n,
    remoteIpInfos: [{ ip: '127.0.0.1', port }],
    ...(life !== undefined && { life }),
  };
  if (call === 'start') {
    await dist.init({ deviceId: Number(clusterId), listenIpInfo: `127.0.0.1:${port}` });
    cache = await dist.kvCacheManager.allocateCache({ numTensors: 2, dataType: DataType.DT_INT8, shape: [4, BLOCK] });
    return { key: cache.key(), life: dist.life } satisfies Started;
  }
  if (cache === undefined) throw new Error(`the worker was asked to ${call} before it was started`);
  const [region] = cache.regions ?? [];
  if (call === 'fill') await region?.write(new Uint8Array(BLOCK).fill(value));
  if (call === 'relink') await dist.unlinkClusters([peer], { force: true });
  if (call === 'link' || call === 'relink') await dist.linkClusters([peer]);
  if (call === 'pull' && key !== undefined) await dist.kvCacheManager.pullBlocks(key, cache, [0], [1]);
  if (call === 'stop') {
    await dist.kvCacheManager.deallocateCache(cache);
    await dist.finalize();
  }
  return call === 'read' ? (await region?.read(BLOCK, 1))?.[0] : undefined;
}

process.on('message', (request: Request) => {
  perform(request).then(
    (value) => process.send?.({ value } satisfies Answer),
    (error: unknown) => {
      if (!(error instanceof LLMException)) throw error;
      process.send?.({ code: error.code, recovery: error.recovery } satisfies Answer);
    },
  );
});
process.on('disconnect', () => process.exit());

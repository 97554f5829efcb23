/**
 * Scheduling x prompts and y decoders over a model of the wire: how long a burst of requests takes, before there is an NPU.
 *
 * Every node has a network port of 1 MB/s here, and transfers share it fairly; figures of real hardware come as presets,
 * `createFabric({ wire: 'A2_RoCE' })`. The clock is the fabric's, so the same test gives the same milliseconds anywhere.
 */
import type { CacheKeyByIdAndIndex, KvCache, LLMClusterInfo } from 'llm-datadist';
import { DataType, LLMDataDist, LLMRole } from 'llm-datadist';
import { createFabric } from 'llm-datadist/testing';

/** What is tested: which prompt runs which request, by the bytes that each has to send already. */
function leastLoaded(requests: readonly number[], prompts: number): number[] {
  const load = new Array<number>(prompts).fill(0);
  return requests.map((blocks) => {
    const prompt = load.indexOf(Math.min(...load));
    load[prompt] = (load[prompt] ?? 0) + blocks;
    return prompt;
  });
}

/** 4 tensors of 8 blocks of 250 bytes: 1 ms a block. */
const DESC = { numTensors: 4, dataType: DataType.DT_INT8, shape: [8, 250] };
const PROMPTS = 2;
const DECODERS = 4;

/** Starts a cluster and plays a schedule: request i is pulled by decoder i mod y. @returns when the last one is there, in ms */
async function makespan(requests: readonly number[], schedule: readonly number[]): Promise<number> {
  using fabric = createFabric({ wire: { bandwidth: 1_000_000 } });
  const keys: CacheKeyByIdAndIndex[] = [];
  const remotes: LLMClusterInfo[] = [];
  for (let i = 0; i < PROMPTS; i++) {
    const prompt = new LLMDataDist(LLMRole.PROMPT, i + 1, { backend: fabric.backend });
    await prompt.init({ deviceId: i, listenIpInfo: `10.0.0.${i + 1}:26000` });
    keys.push((await prompt.kvCacheManager.allocateCache(DESC)).key());
    // What the prompt reports, with its keys: where it listens, and its life.
    remotes.push({
      remoteClusterId: prompt.clusterId,
      remoteIpInfos: [{ ip: `10.0.0.${i + 1}`, port: 26000 }],
      localIpInfos: [{ ip: '10.0.1.1' }],
      life: prompt.life,
    });
  }
  const decoders: { dist: LLMDataDist; cache: KvCache }[] = [];
  for (let i = 0; i < DECODERS; i++) {
    const dist = new LLMDataDist(LLMRole.DECODER, 100 + i, { backend: fabric.backend });
    await dist.init({ deviceId: i });
    decoders.push({ dist, cache: await dist.kvCacheManager.allocateCache(DESC) });
    await dist.linkClusters(remotes);
  }
  const start = fabric.clock.now();
  let end = start;
  const pulls = requests.map(async (blocks, i) => {
    const decoder = decoders[i % DECODERS];
    const key = keys[schedule[i] ?? 0];
    if (decoder === undefined || key === undefined) throw new Error(`request ${i} is for nobody`);
    const list = Array.from({ length: blocks }, (_, block) => block);
    await decoder.dist.kvCacheManager.pullBlocks(key, decoder.cache, list, list);
    end = Math.max(end, fabric.clock.now());
  });
  await fabric.clock.runAll();
  await Promise.all(pulls);
  return end - start;
}

const EVEN = [4, 4, 4, 4, 4, 4, 4, 4];
const UNEVEN = [8, 1, 8, 1, 8, 1, 8, 1];

test('one prompt for all is limited by its port', async () => {
  expect(
    await makespan(
      EVEN,
      EVEN.map(() => 0),
    ),
  ).toBeCloseTo(32);
});

test('two prompts take half the time when the load is even', async () => {
  expect(await makespan(EVEN, leastLoaded(EVEN, PROMPTS))).toBeCloseTo(16);
});

test('requests of different lengths are balanced by their bytes, not by their number', async () => {
  const inTurn = UNEVEN.map((_, i) => i % PROMPTS);
  expect(await makespan(UNEVEN, inTurn)).toBeCloseTo(32);
  expect(await makespan(UNEVEN, leastLoaded(UNEVEN, PROMPTS))).toBeLessThan(24);
});

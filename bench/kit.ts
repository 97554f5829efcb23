import { createFabric, Fabric } from '../lib/testing';
import { oneByOne } from './callers';
import type { AsyncCall } from './callers';
import { blocksOf, onFabric, startPair } from './node';
import type { Pair } from './node';
import { compared } from './result';
import type { Result } from './result';
import { runRounds } from './rounds';
import type { Suite, SuiteOptions } from './suite';

const MIB = 2 ** 20;
const ROWS = 16;
const CASES = [
  { tensors: 1, blockBytes: 64 },
  { tensors: 64, blockBytes: 64 },
  { tensors: 1, blockBytes: 2 * MIB },
];
const GOAL = { kind: 'at least', bound: 0.95 } as const;

/** What it costs that a test fabric sees every call, when no fault is set. */
export const kit: Suite = {
  name: 'kit',
  title: 'One-block pulls a second on a test fabric without faults, next to the mock without the kit',
  backend: 'mock',
  async run(options: SuiteOptions): Promise<Result[]> {
    const results: Result[] = [];
    for (const { tensors, blockBytes } of CASES) results.push(await measure(tensors, blockBytes, options));
    return results;
  },
};

async function measure(tensors: number, blockBytes: number, options: SuiteOptions): Promise<Result> {
  const desc = blocksOf(blockBytes, ROWS, tensors);
  const plain = await startPair(onFabric(new Fabric()), desc);
  const watched = await startPair({ backend: createFabric().backend }, desc);
  const [rival = [], samples = []] = await runRounds([oneByOne(pulling(plain)), oneByOne(pulling(watched))], options);
  await plain.close();
  await watched.close();
  const rates = (milliseconds: readonly number[]) => milliseconds.map((ms) => 1000 / ms);
  const name = `${tensors} × ${blockBytes} B, on a test fabric`;
  return compared(kit.name, name, 'pulls/s', rates(samples), { name: 'mock', samples: rates(rival) }, GOAL);
}

function pulling({ puller, local, remote }: Pair): AsyncCall {
  const manager = puller.dist.kvCacheManager;
  const key = remote.key();
  return (i) => manager.pullBlocks(key, local, [i % ROWS], [(i + 1) % ROWS]);
}

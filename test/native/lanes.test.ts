import { createNativeBackend } from '../../lib/backend/native';
import { LLMRole } from '../../lib';
import type { KvCache, LLMDataDist } from '../../lib';
import { DESC } from '../fixtures/cluster';
import { collectGarbage } from '../fixtures/garbage';
import { warningsDuring } from '../fixtures/warnings';
import { cluster, prompt } from './fixtures/pair';
import { instance, received, standIn } from './fixtures/stand-in';

/** Prompts that a decoder is linked to: cluster ids from here on. */
const FIRST_PEER = 101n;

interface Star {
  readonly dist: LLMDataDist;
  readonly local: KvCache;
  /** Pulls block `block` of a peer's cache into the same block. */
  readonly pull: (peer: number, block?: number) => Promise<void>;
  readonly push: (peer: number, block?: number) => Promise<void>;
}

/** A decoder that is linked to several prompts, with so many threads. */
async function star(peers: number, threads = 64): Promise<Star> {
  const dist = instance(LLMRole.DECODER, 2n, {
    backend: (clusterId, role) => createNativeBackend(clusterId, role, { allowMultipleInstances: true, threads }),
  });
  await dist.init({ deviceId: 1 });
  const local = await dist.kvCacheManager.allocateCache(DESC);
  const keys: { clusterId: bigint; cacheId: bigint }[] = [];
  for (let i = 0; i < peers; i++) {
    const clusterId = FIRST_PEER + BigInt(i);
    const remote = await (await prompt(clusterId)).kvCacheManager.allocateCache(DESC);
    keys.push({ clusterId, cacheId: remote.cacheId });
  }
  await dist.linkClusters(keys.map(({ clusterId }) => cluster(clusterId)));
  const { kvCacheManager } = dist;
  return {
    dist,
    local,
    pull: (peer, block = 0) => kvCacheManager.pullBlocks(keys[peer]!, local, [block], [block]),
    push: (peer, block = 0) => kvCacheManager.pushBlocks(keys[peer]!, local, [block], [block]),
  };
}

/** The first source block of each call of a method, in the order in which the calls came in. */
function blocksOf(method: 'PullKvBlocks' | 'PushKvBlocks'): number[] {
  return received(method).map(({ args }) => Number((args.src_blocks as string[])[0]));
}

/** The order in which promises settle. */
async function settled(promises: readonly Promise<unknown>[]): Promise<number[]> {
  const order: number[] = [];
  await Promise.all(promises.map((promise, i) => promise.then(() => order.push(i))));
  return order;
}

describe.each(['pull', 'push'] as const)('%ss with one peer', (way) => {
  const method = way === 'pull' ? 'PullKvBlocks' : 'PushKvBlocks';

  test('run one after the other, in the order of the calls', async () => {
    const { [way]: transfer, dist } = await star(1);
    standIn.set(method, { block: true });
    const order = settled([0, 1, 2, 3].map((block) => transfer(0, block)));
    for (let entered = 1; entered <= 4; entered++) {
      await standIn.waitEntered(method, entered);
      // Time enough for another one to come in beside it.
      await (await dist.allocateMemory(64)).free();
      expect(blocksOf(method)).toEqual([0, 1, 2, 3].slice(0, entered));
      standIn.release(method, 1);
    }
    expect(await order).toEqual([0, 1, 2, 3]);
  });

  test('settle in the order of the calls, many at a time', async () => {
    const { [way]: transfer } = await star(1);
    standIn.run('journal off; strict off; answer_at_once on');
    const calls = Array.from({ length: 2000 }, () => transfer(0));
    expect(await settled(calls)).toEqual(calls.map((_, i) => i));
  });
});

test('pulls with different peers run at the same time', async () => {
  const { pull } = await star(3);
  standIn.set('PullKvBlocks', { block: true });
  const pulls = [pull(0), pull(1), pull(2)];
  await standIn.waitEntered('PullKvBlocks', 3);
  expect(standIn.counters().threadsInside).toBe(3);
  standIn.release('PullKvBlocks');
  await Promise.all(pulls);
});

test('a pull that takes its time holds up no other peer', async () => {
  const { pull } = await star(2);
  standIn.set('PullKvBlocks', { block: true, times: 1 });
  const slow = pull(0);
  await standIn.waitEntered('PullKvBlocks');
  await pull(1);
  standIn.release('PullKvBlocks');
  await slow;
});

test('pushes run one after the other, whoever their peers are, as the library has one lock for all', async () => {
  const { dist, push } = await star(2);
  standIn.set('PushKvBlocks', { block: true });
  const order = settled([push(0, 0), push(1, 1)]);
  await standIn.waitEntered('PushKvBlocks');
  await (await dist.allocateMemory(64)).free();
  expect(blocksOf('PushKvBlocks')).toEqual([0]);
  standIn.release('PushKvBlocks', 1);
  await standIn.waitEntered('PushKvBlocks', 2);
  standIn.release('PushKvBlocks');
  expect(await order).toEqual([0, 1]);
});

test('a push that takes its time holds up no pull, and a pull no push', async () => {
  const { pull, push } = await star(1);
  standIn.set('PushKvBlocks', { block: true });
  const pushed = push(0);
  await standIn.waitEntered('PushKvBlocks');
  await pull(0);
  standIn.set('PullKvBlocks', { block: true });
  const pulled = pull(0);
  await standIn.waitEntered('PullKvBlocks');
  standIn.release('PushKvBlocks');
  await pushed;
  await push(0);
  standIn.release('PullKvBlocks');
  await pulled;
});

test('control calls hold up neither transfers nor memory', async () => {
  const { dist, pull, push } = await star(1);
  standIn.set('LinkLlmClusters', { block: true });
  const linked = dist.linkClusters([cluster(FIRST_PEER)]).catch(() => undefined);
  await standIn.waitEntered('LinkLlmClusters');
  await Promise.all([pull(0), push(0)]);
  const region = await dist.allocateMemory(64);
  await region.write(new Uint8Array(64));
  await region.free();
  standIn.release('LinkLlmClusters');
  await linked;
});

test('no more threads than allowed are inside the library, and each lane gets its turn', async () => {
  const { dist, pull } = await star(5, 2);
  standIn.set('PullKvBlocks', { block: true });
  const pulls = [0, 1, 2, 3, 4].flatMap((peer) => [pull(peer), pull(peer)]);
  for (let ended = 0; ended + 2 <= pulls.length; ended++) {
    await standIn.waitEntered('PullKvBlocks', ended + 2);
    expect([received('PullKvBlocks').length, standIn.counters().threadsInside]).toEqual([ended + 2, 2]);
    standIn.release('PullKvBlocks', 1);
  }
  standIn.release('PullKvBlocks');
  await Promise.all(pulls);
  // First come, first served: nobody comes twice before everybody has come once.
  const peers = received('PullKvBlocks').map(({ args }) => (args.src_cache_index as { cluster_id: string }).cluster_id);
  expect(new Set(peers.slice(0, 5)).size).toBe(5);
  await warningsDuring(() => dist.finalize());
});

test('one thread is enough for everything', async () => {
  const { dist, pull, push } = await star(3, 1);
  await Promise.all([pull(0), push(1), pull(2), pull(0), (await dist.allocateMemory(64)).free()]);
  await warningsDuring(() => dist.finalize());
});

test('calls are settled also where nothing but their promises is left of the instance', async () => {
  standIn.set('UnregisterKvCache', { block: true, times: 1, status: 0 });
  standIn.add('UnregisterKvCache', { status: 0 });
  const calls = ((): Promise<void>[] => {
    const backend = createNativeBackend(1n, 1, { allowMultipleInstances: true });
    return [backend.unregisterKvCache(1n), backend.unregisterKvCache(2n)];
  })();
  await standIn.waitEntered('UnregisterKvCache');
  await collectGarbage();
  standIn.release('UnregisterKvCache');
  await Promise.all(calls);
  expect(received('UnregisterKvCache').map(({ args }) => args.cache_id)).toEqual(['1', '2']);
});

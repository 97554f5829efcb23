import { createNativeBackend } from '../../lib/backend/native';
import { LLMRole, LLMStatusCode } from '../../lib';
import type { BlockList, LLMException } from '../../lib';
import { DESC, rejection } from '../fixtures/cluster';
import { stateOf } from '../fixtures/fabric';
import { cluster, prompt } from './fixtures/pair';
import { instance, received, standIn } from './fixtures/stand-in';

const UNRESPONSIVE = { code: 'LLM_TIMEOUT', recovery: 'retry', deadline: 'package' };
const HUNG = [101n, 102n];
const WELL = 103n;

const REFUSED = { code: 'LLM_PARAM_INVALID', remedy: expect.stringContaining('Rule rows-in-flight') as string };

type GivenUp = LLMException & { released: Promise<void> };

/** A decoder with as many threads as peers whose pulls will hang. */
async function star() {
  const dist = instance(LLMRole.DECODER, 2n, {
    backend: (clusterId, role) =>
      createNativeBackend(clusterId, role, { allowMultipleInstances: true, threads: HUNG.length }),
    hangTimeout: 2000,
  });
  await dist.init({ deviceId: 1, syncKvTimeout: 1 });
  const { kvCacheManager: caches } = dist;
  const local = await caches.allocateCache(DESC);
  const ids = [...HUNG, WELL];
  for (const id of ids) await (await prompt(id)).kvCacheManager.allocateCache(DESC);
  await dist.linkClusters(ids.map(cluster));
  return {
    dist,
    local,
    pull: (clusterId: bigint, row: number | BlockList) =>
      caches.pullBlocks({ clusterId, cacheId: 1n }, local, [0], typeof row === 'number' ? [row] : row),
    push: (clusterId: bigint, row: number | BlockList) =>
      caches.pushBlocks({ clusterId, cacheId: 1n }, local, typeof row === 'number' ? [row] : row, [0]),
  };
}

test('pulls that hang cost their peers and no thread, and the peers are used again when they come back', async () => {
  const { dist, pull } = await star();
  standIn.set('PullKvBlocks', { block: true, times: HUNG.length });
  const hung = HUNG.map((id, row) => rejection(pull(id, row)));
  await standIn.waitEntered('PullKvBlocks', HUNG.length);
  const behind = rejection(pull(101n, 2));
  for (const error of await Promise.all([...hung, behind])) expect(error).toMatchObject(UNRESPONSIVE);
  await pull(WELL, 2);
  expect(await rejection(dist.unlinkClusters([cluster(101n)], { force: true }))).toMatchObject(UNRESPONSIVE);
  expect(received('UnlinkLlmClusters')).toEqual([]);
  expect(dist.isLost).toBe(false);
  standIn.release('PullKvBlocks');
  while ((await pull(101n, 3).catch((error: unknown) => error)) !== undefined) {
    await (await dist.allocateMemory(64)).free();
  }
  // The one that waited behind was taken back.
  expect(
    received('PullKvBlocks').filter(
      ({ args }) => (args.src_cache_index as { cluster_id: string }).cluster_id === '101',
    ),
  ).toHaveLength(2);
});

test('a push that hangs stops pushes, and no pull of another peer', async () => {
  const { dist, pull, push } = await star();
  standIn.set('PushKvBlocks', { block: true, times: 1 });
  const hung = rejection(push(101n, 0));
  await standIn.waitEntered('PushKvBlocks');
  const behind = rejection(push(WELL, 1));
  expect(await hung).toMatchObject({ ...UNRESPONSIVE, clusterId: 101n });
  expect(await behind).toMatchObject({ ...UNRESPONSIVE, clusterId: WELL });
  await pull(WELL, 1);
  expect(received('PushKvBlocks')).toHaveLength(1);
  standIn.release('PushKvBlocks');
  while ((await push(WELL, 1).catch((error: unknown) => error)) !== undefined) {
    await (await dist.allocateMemory(64)).free();
  }
});

describe.each([
  ['a list of the package', [2, 3], () => undefined],
  [
    'a list that the caller changes meanwhile',
    new BigUint64Array([2n, 3n]),
    (list: BlockList) => (list as BigUint64Array).fill(0n),
  ],
] as const)('blocks in %s', (_, given, change) => {
  const listOf = (): BlockList => (given instanceof BigUint64Array ? given.slice() : [...given]);

  test('are refused while the pull into them hangs, and no others are', async () => {
    const { dist, local, pull } = await star();
    const { kvCacheManager: caches } = dist;
    standIn.set('PullKvBlocks', { block: true, times: 1 });
    const list = listOf();
    const hung = rejection(caches.pullBlocks({ clusterId: 101n, cacheId: 1n }, local, [0, 1], list));
    await standIn.waitEntered('PullKvBlocks');
    change(list);
    const behind = rejection(pull(101n, 1));
    const { released } = (await hung) as GivenUp;
    const { released: ofBehind } = (await behind) as GivenUp;
    // It never got to the library, and never will.
    await ofBehind;
    expect(await stateOf(released)).toBe('pending');
    for (const row of [2, 3]) {
      expect(await rejection(pull(WELL, row))).toMatchObject(REFUSED);
      expect(await rejection(local.readBlocks([row]))).toMatchObject(REFUSED);
    }
    await pull(WELL, 0);
    await pull(WELL, 1);
    await local.readBlocks([0, 1]);
    standIn.release('PullKvBlocks');
    await released;
    await pull(WELL, 2);
  });

  test('are not written while the push from them hangs', async () => {
    const { dist, local, pull } = await star();
    standIn.set('PushKvBlocks', { block: true, times: 1 });
    const list = listOf();
    const hung = rejection(dist.kvCacheManager.pushBlocks({ clusterId: 101n, cacheId: 1n }, local, list, [0, 1]));
    await standIn.waitEntered('PushKvBlocks');
    change(list);
    const { released } = (await hung) as GivenUp;
    for (const row of [2, 3]) expect(await rejection(pull(WELL, row))).toMatchObject(REFUSED);
    await pull(WELL, 0);
    await local.readBlocks([0, 1, 2, 3]);
    standIn.release('PushKvBlocks');
    await released;
    await pull(WELL, 2);
  });
});

test('a pull that hangs and fails with a status that ends its link keeps its row until the peer is unlinked', async () => {
  const { dist, local, pull } = await star();
  standIn.set('PullKvBlocks', { block: true, times: 1, status: LLMStatusCode.LLM_TIMEOUT });
  const { released } = (await rejection(pull(101n, new BigUint64Array([1n])))) as GivenUp;
  standIn.release('PullKvBlocks');
  // Until it has come back, calls with its peer are refused for that.
  while (((await rejection(pull(101n, 1))) as LLMException).deadline === 'package');
  expect(await rejection(pull(101n, 1))).toMatchObject(REFUSED);
  expect(await stateOf(released)).toBe('pending');
  await dist.unlinkClusters([cluster(101n)], { force: true });
  await released;
  await local.readBlocks([1]);
});

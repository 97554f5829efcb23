import { createNativeBackend } from '../../lib/backend/native';
import { LLMRole, LLMStatusCode } from '../../lib';
import type { BlockList, LLMException } from '../../lib';
import { DESC, rejection } from '../fixtures/cluster';
import { stateOf } from '../fixtures/fabric';
import { cluster, prompt } from './fixtures/pair';
import { instance, standIn } from './fixtures/stand-in';

const REFUSED = { code: 'LLM_PARAM_INVALID', remedy: expect.stringContaining('Rule rows-in-flight') as string };
const HUNG = 101n;
const WELL = 103n;

type GivenUp = LLMException & { released: Promise<void> };

/** A decoder with two peers. */
async function star() {
  const dist = instance(LLMRole.DECODER, 2n, {
    backend: (clusterId, role) => createNativeBackend(clusterId, role, { allowMultipleInstances: true }),
    hangTimeout: 2000,
  });
  await dist.init({ deviceId: 1, syncKvTimeout: 1 });
  const { kvCacheManager: caches } = dist;
  const local = await caches.allocateCache(DESC);
  const ids = [HUNG, WELL];
  for (const id of ids) await (await prompt(id)).kvCacheManager.allocateCache(DESC);
  await dist.linkClusters(ids.map(cluster));
  return {
    dist,
    local,
    pull: (clusterId: bigint, row: number) => caches.pullBlocks({ clusterId, cacheId: 1n }, local, [0], [row]),
  };
}

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
    const hung = rejection(caches.pullBlocks({ clusterId: HUNG, cacheId: 1n }, local, [0, 1], list));
    await standIn.waitEntered('PullKvBlocks');
    change(list);
    const behind = rejection(pull(HUNG, 1));
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
    const hung = rejection(dist.kvCacheManager.pushBlocks({ clusterId: HUNG, cacheId: 1n }, local, list, [0, 1]));
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
  const { released } = (await rejection(pull(HUNG, 1))) as GivenUp;
  standIn.release('PullKvBlocks');
  // Until it has come back, calls with its peer are refused for that.
  while (((await rejection(pull(HUNG, 1))) as LLMException).deadline === 'package') {
    await (await dist.allocateMemory(64)).free();
  }
  expect(await rejection(pull(HUNG, 1))).toMatchObject(REFUSED);
  expect(await stateOf(released)).toBe('pending');
  await dist.unlinkClusters([cluster(HUNG)], { force: true });
  await released;
  await local.readBlocks([1]);
});

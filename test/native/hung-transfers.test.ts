import { createNativeBackend } from '../../lib/backend/native';
import { LLMRole } from '../../lib';
import { DESC, rejection } from '../fixtures/cluster';
import { stateOf } from '../fixtures/fabric';
import { warningsDuring } from '../fixtures/warnings';
import { cluster, prompt } from './fixtures/pair';
import { instance, received, standIn } from './fixtures/stand-in';

const UNRESPONSIVE = { code: 'LLM_TIMEOUT', recovery: 'retry', deadline: 'package' };
const HUNG = [101n, 102n];
const WELL = 103n;

/** The local row of a peer's transfers: that of a transfer which was given up is not used until it is back. */
const rowOf = (clusterId: bigint) => Number(clusterId - 101n);

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
    pull: (clusterId: bigint) => caches.pullBlocks({ clusterId, cacheId: 1n }, local, [0], [rowOf(clusterId)]),
    push: (clusterId: bigint) => caches.pushBlocks({ clusterId, cacheId: 1n }, local, [rowOf(clusterId)], [0]),
  };
}

test('pulls that hang cost their peers and no thread, and the peers are used again when they come back', async () => {
  const { dist, pull } = await star();
  standIn.set('PullKvBlocks', { block: true, times: HUNG.length });
  const hung = HUNG.map((id) => rejection(pull(id)));
  await standIn.waitEntered('PullKvBlocks', HUNG.length);
  const behind = rejection(pull(101n));
  for (const error of await Promise.all([...hung, behind])) expect(error).toMatchObject(UNRESPONSIVE);
  await pull(WELL);
  expect(await rejection(dist.unlinkClusters([cluster(101n)], { force: true }))).toMatchObject(UNRESPONSIVE);
  expect(received('UnlinkLlmClusters')).toEqual([]);
  expect(dist.isLost).toBe(false);
  standIn.release('PullKvBlocks');
  while ((await pull(101n).catch((error: unknown) => error)) !== undefined) {
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
  const hung = rejection(push(101n));
  await standIn.waitEntered('PushKvBlocks');
  const behind = rejection(push(WELL));
  expect(await hung).toMatchObject({ ...UNRESPONSIVE, clusterId: 101n });
  expect(await behind).toMatchObject({ ...UNRESPONSIVE, clusterId: WELL });
  await pull(WELL);
  expect(received('PushKvBlocks')).toHaveLength(1);
  standIn.release('PushKvBlocks');
  while ((await push(WELL).catch((error: unknown) => error)) !== undefined) {
    await (await dist.allocateMemory(64)).free();
  }
});

interface Refusal {
  readonly released: Promise<void>;
}

describe('when `released` has resolved', () => {
  const NEXT: Record<string, (net: Awaited<ReturnType<typeof star>>) => Promise<unknown>> = {
    'an unlink': ({ dist }) => dist.unlinkClusters([cluster(101n)], { force: true }),
    'a pull': ({ pull }) => pull(101n),
    'a push': ({ push }) => push(101n),
  };

  describe.each([
    ['pull', 'PullKvBlocks'],
    ['push', 'PushKvBlocks'],
  ] as const)('of a %s that has come back', (kind, method) => {
    describe.each([false, true])('or of a call that was refused meanwhile: %s', (isRefusal) => {
      test.each(Object.keys(NEXT))('%s passes', async (name) => {
        const net = await star();
        const next = NEXT[name]!;
        standIn.set(method, { block: true, times: 1 });
        const first = net[kind](101n);
        await standIn.waitEntered(method);
        const [hung] = await Promise.all([rejection(first), rejection(net[kind](101n))]);
        const refused = await rejection(next(net));
        expect([hung, refused]).toMatchObject([UNRESPONSIVE, UNRESPONSIVE]);
        const { released } = (isRefusal ? refused : hung) as Refusal;
        expect(await stateOf(released)).toBe('pending');
        standIn.release(method);
        await released;
        await next(net);
      });
    });
  });
});

test.each([
  [29_999, 'hixl', ['LLMDataDistHangTimeoutWarning']],
  [30_000, 'hixl', []],
  [29_999, undefined, []],
])(
  'a hangTimeout of %i ms with the transfer backend %s: the warnings %j',
  async (hangTimeout, transferBackend, names) => {
    const dist = instance(LLMRole.MIX, 2n, { hangTimeout });
    const options = {
      deviceId: 1,
      listenIpInfo: '127.0.0.1:26002',
      ...(transferBackend !== undefined && { transferBackend }),
    };
    expect(await warningsDuring(() => dist.init(options))).toEqual(names);
  },
);

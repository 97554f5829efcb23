import { getEventListeners } from 'node:events';
import type { CallOptions, KvCache } from '../lib';
import { FrameKind } from '../lib/backend/mock/tcp/frame';
import { bytesOf, DESC, linkedPair, rejection } from './fixtures/cluster';
import { clusterOf, pass, stateOf } from './fixtures/fabric';
import { frame } from './fixtures/frames';
import { hold } from './fixtures/held-calls';
import { peerThat, WINDOW } from './fixtures/layered-peer';
import { star } from './fixtures/star';
import type { Star } from './fixtures/star';

type Op = 'pullBlocks' | 'pullCache' | 'pushBlocks' | 'pushCache';
const OPS: readonly Op[] = ['pullBlocks', 'pullCache', 'pushBlocks', 'pushCache'];

interface Rejected extends Error {
  readonly released: Promise<void>;
}

/** A transfer of node 2 with the owner of a cache: row `row` there and here. */
function transfer({ decoder, decoderCache }: Star, op: Op, remote: KvCache, row: number, call: CallOptions = {}) {
  const { kvCacheManager: caches } = decoder;
  if (op === 'pullBlocks' || op === 'pushBlocks') return caches[op](remote.key(), decoderCache, [row], [row], call);
  if (op === 'pullCache') return caches.pullCache(remote.key(row), decoderCache, row, call);
  return caches.pushCache(remote.key(row), decoderCache, row, call);
}

/** The rows that transfers of node 2 have written, of the first tensor, by the order in which they wrote. */
function finished({ fabric }: Star, op: Op): unknown[] {
  return fabric.history
    .filter((call) => call.op === op && call.state === 'succeeded')
    .map(({ args }) => args.dstBlocks ?? args.dstBatchIndex);
}

const records = ({ fabric }: Star, op: Op) => fabric.history.filter((call) => call.op === op);

describe.each(OPS)('a %s that waits', (op) => {
  /** The first one hangs with its locks held; three more wait behind it, of which the second one can be aborted. */
  async function queued(second: CallOptions) {
    const net = await star({}, { hangTimeout: 1_000_000 });
    const fault = net.fabric.inject({ op, times: 1, hang: true });
    const { promptCache, decoderCache } = net;
    const before = [await bytesOf(promptCache), await bytesOf(decoderCache)];
    const first = transfer(net, op, promptCache, 0);
    const rest = [
      transfer(net, op, promptCache, 1),
      transfer(net, op, promptCache, 2, second),
      transfer(net, op, promptCache, 3),
    ];
    return { net, fault, before, first, second: rejection(rest[1]!), others: [first, rest[0]!, rest[2]!] };
  }

  test('behind another one is withdrawn by its signal: it moves nothing, and its rows are free at once', async () => {
    const controller = new AbortController();
    const { net, fault, second, others } = await queued({ signal: controller.signal });
    expect(records(net, op)).toHaveLength(4);
    controller.abort();
    const error = (await second) as Rejected;
    expect(error).toMatchObject({ name: 'AbortError', operation: op });
    expect(await stateOf(error.released)).toBe('resolved');
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    // It has not reached the library.
    expect(records(net, op)).toHaveLength(3);
    // A push reads row 2 and a pull writes it: both are free.
    await net.decoderCache.writeBlocks([2], new Uint8Array(64 * DESC.numTensors).fill(9));
    expect(await Promise.all(others.map(stateOf))).toEqual(['pending', 'pending', 'pending']);
    fault.remove();
    await Promise.all(others);
    const isBlocks = op === 'pullBlocks' || op === 'pushBlocks';
    expect(finished(net, op)).toEqual(isBlocks ? [[0], [1], [3]] : [0, 1, 3]);
    expect(Buffer.from(await net.decoderCache.readBlocks([2])).every((byte) => byte === 9)).toBe(true);
    expect(net.fabric.history.filter(({ state }) => state === 'in flight')).toEqual([]);
  });

  test('behind another one is withdrawn at its deadline', async () => {
    const { net, fault, before, second, others } = await queued({ timeout: 20 });
    await pass(net.fabric, 19);
    expect(await stateOf(second)).toBe('pending');
    await pass(net.fabric, 1);
    const error = (await second) as Rejected;
    expect(error).toMatchObject({ code: 'LLM_TIMEOUT', deadline: 'caller', operation: op });
    await error.released;
    fault.remove();
    await Promise.all(others);
    const row2 = (bytes: Buffer) => bytes.subarray(2 * 64, 3 * 64);
    expect(row2(await bytesOf(net.promptCache))).toEqual(row2(before[0]!));
    expect(row2(await bytesOf(net.decoderCache))).toEqual(row2(before[1]!));
  });

  test('behind another one under a fault that would delay it as well is withdrawn', async () => {
    const net = await star();
    net.fabric.inject({ op, delayMs: 20 });
    const controller = new AbortController();
    const first = transfer(net, op, net.promptCache, 0);
    const second = rejection(transfer(net, op, net.promptCache, 1, { signal: controller.signal }));
    const third = transfer(net, op, net.promptCache, 2);
    expect(await stateOf(first)).toBe('pending');
    controller.abort();
    await ((await second) as Rejected).released;
    await pass(net.fabric, 20);
    await first;
    expect(await stateOf(third)).toBe('pending');
    await pass(net.fabric, 20);
    await third;
    expect(net.fabric.clock.now()).toBe(40);
  });

  test('while the links are locked for an unlink that a peer has asked for is withdrawn', async () => {
    const net = await star({}, { hangTimeout: 1_000_000 });
    const fault = net.fabric.inject({ op: 'pullBlocks', node: 2n, peer: 1n, times: 1, hang: true });
    const hung = transfer(net, 'pullBlocks', net.promptCache, 0);
    const unlink = rejection(net.prompt.unlinkClusters([clusterOf(2n)], { timeout: 1_000_000 }));
    expect(await stateOf(unlink)).toBe('pending');
    const controller = new AbortController();
    const other = rejection(transfer(net, op, net.otherCache, 1, { signal: controller.signal }));
    expect(await stateOf(other)).toBe('pending');
    controller.abort();
    await ((await other) as Rejected).released;
    fault.remove();
    await hung;
    expect(records(net, op).filter(({ peer }) => peer === 3n)).toEqual([]);
  });
});

test('a push that waits for its link with the lock of all pushes gives that back when it is withdrawn', async () => {
  const net = await star({}, { hangTimeout: 1_000_000 });
  net.fabric.inject({ op: 'pullBlocks', times: 1, hang: true });
  const hung = transfer(net, 'pullBlocks', net.promptCache, 0);
  hung.catch(() => undefined);
  const controller = new AbortController();
  const push = rejection(transfer(net, 'pushBlocks', net.promptCache, 1, { signal: controller.signal }));
  const other = transfer(net, 'pushBlocks', net.otherCache, 2);
  expect(await stateOf(other)).toBe('pending');
  controller.abort();
  await ((await push) as Rejected).released;
  await other;
  expect(await stateOf(hung)).toBe('pending');
});

test('a push whose first layers have gone is not withdrawn: it goes on in the library', async () => {
  const net = await star();
  net.fabric.inject({ op: 'pushBlocks', times: 1, partialLayers: 1, delayMs: 20 });
  const controller = new AbortController();
  const push = rejection(transfer(net, 'pushBlocks', net.promptCache, 1, { signal: controller.signal }));
  expect(await stateOf(push)).toBe('pending');
  controller.abort();
  const { released } = (await push) as Rejected;
  expect(await stateOf(released)).toBe('pending');
  expect(records(net, 'pushBlocks')).toMatchObject([{ state: 'in flight' }]);
  net.fabric.kill(net.decoder);
  await stateOf(released);
});

test('ten thousand calls that wait are withdrawn by one signal, and the next one goes on', async () => {
  const net = await star({}, { hangTimeout: 1_000_000 });
  const fault = net.fabric.inject({ op: 'pullBlocks', times: 1, hang: true });
  const hung = transfer(net, 'pullBlocks', net.promptCache, 0);
  const abort = new AbortController();
  const calls = Array.from({ length: 10_000 }, () =>
    rejection(transfer(net, 'pullBlocks', net.promptCache, 1, { signal: abort.signal })),
  );
  const last = transfer(net, 'pullBlocks', net.promptCache, 3);
  abort.abort();
  for (const error of await Promise.all(calls)) await (error as Rejected).released;
  fault.remove();
  await Promise.all([hung, last]);
  expect(finished(net, 'pullBlocks')).toEqual([[0], [3]]);
}, 120_000);

test('a key whose call was withdrawn was not used over the link', async () => {
  const net = await star({ strict: false }, { hangTimeout: 1_000_000 });
  const fault = net.fabric.inject({ op: 'pushBlocks', peer: 3n, times: 1, hang: true });
  const { decoder, decoderCache, promptCache } = net;
  const hung = transfer(net, 'pushBlocks', net.otherCache, 0);
  const controller = new AbortController();
  const push = (life: string, call: CallOptions = {}) =>
    decoder.kvCacheManager.pushBlocks(
      { clusterId: 1n, cacheId: promptCache.cacheId, life },
      decoderCache,
      [1],
      [1],
      call,
    );
  const withdrawn = rejection(push('f'.repeat(32), { signal: controller.signal }));
  controller.abort();
  await ((await withdrawn) as Rejected).released;
  fault.remove();
  await hung;
  // Where the link had a life by now, this one would be refused.
  await push('e'.repeat(32));
});

test('a call that gets to the backend later withdraws no call that was made before it', async () => {
  const { decoder, promptCache, decoderCache } = await linkedPair();
  const { backend, dist } = decoder;
  const held = hold(backend, 'pullKvBlocks');
  const withdrawn: number[] = [];
  Object.assign(backend, { withdraw: (call: number) => withdrawn.push(call) > 0 });
  const controller = new AbortController();
  const pull = rejection(
    dist.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [0], { signal: controller.signal }),
  );
  controller.abort();
  const { released } = (await pull) as Rejected;
  expect(await stateOf(released)).toBe('pending');
  expect(withdrawn).toEqual([]);
  held.open();
  await released;
});

test('a push over TCP that waits behind another one is withdrawn', async () => {
  const rows = new Set<number>();
  const first: (() => void)[] = [];
  let isFirst = true;
  const { push } = await peerThat((layer, answer) => {
    rows.add(layer.row);
    const done = () => {
      answer(frame(FrameKind.ANSWER, layer.id));
    };
    if (isFirst) first.push(done);
    else done();
    if (first.length === WINDOW) hasCome();
  });
  let hasCome = (): void => undefined;
  const come = new Promise<void>((resolve) => {
    hasCome = resolve;
  });
  const pushes = [push(0)];
  await come;
  const controller = new AbortController();
  const withdrawn = rejection(push(1, { signal: controller.signal }));
  pushes.push(push(0));
  controller.abort();
  await ((await withdrawn) as Rejected).released;
  isFirst = false;
  for (const done of first) done();
  await Promise.all(pushes);
  expect([...rows]).toEqual([0]);
});

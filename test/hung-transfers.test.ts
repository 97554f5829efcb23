import { turn } from './bad-input/states';
import { DESC, rejection } from './fixtures/cluster';
import { clusterOf } from './fixtures/fabric';
import { initialised, watch } from './fixtures/hangs';
import { star } from './fixtures/star';

/** The library's limit of a transfer where nothing is said, and the preset of `hangTimeout`. */
const LIMIT_MS = 1000 + 60_000;

const UNRESPONSIVE = { code: 'LLM_TIMEOUT', recovery: 'retry', deadline: 'package' };

/** Node 2 with links to nodes 1 and 3, of which a transfer with node 1 hangs. */
async function hanging(op: 'pullBlocks' | 'pushBlocks') {
  const net = await star();
  const { fabric } = net;
  const fault = fabric.inject({ op, peer: 1n, times: 1, hang: true });
  const watched = watch(net.calls[op]!());
  const pass = async (ms: number) => {
    await fabric.clock.advance(ms);
    await turn();
  };
  return { ...net, fault, watched, pass };
}

test('a pull that never returns is given up in its time, and costs its peer only', async () => {
  const { decoder, promptCache, decoderCache, calls, watched, pass } = await hanging('pullBlocks');
  const behind = watch(decoder.kvCacheManager.pullCache(promptCache.key(), decoderCache, 0));
  await pass(LIMIT_MS - 1);
  expect([watched.outcome, behind.outcome]).toEqual(['pending', 'pending']);
  await pass(1);
  expect(watched.outcome).toMatchObject({ ...UNRESPONSIVE, operation: 'pullBlocks', clusterId: 1n });
  expect(String(watched.outcome)).toContain('a pull from cluster 1 has not returned from the library for 61000 ms');
  expect(behind.outcome).toMatchObject({ ...UNRESPONSIVE, operation: 'pullCache' });
  for (const name of ['pullBlocks', 'pullCache', 'pushBlocks', 'pushCache']) {
    expect(await rejection(calls[name]!())).toMatchObject({ ...UNRESPONSIVE, operation: name, clusterId: 1n });
  }
  for (const force of [false, true]) {
    const refused = await rejection(decoder.unlinkClusters([clusterOf(3n), clusterOf(1n)], { force }));
    expect(refused).toMatchObject({ ...UNRESPONSIVE, operation: 'unlinkClusters', clusterId: 1n, results: [] });
  }
  expect(await rejection(decoder.linkClusters([clusterOf(1n)]))).toMatchObject(UNRESPONSIVE);
  await calls['pull of the other']!();
  await calls['push to the other']!();
  await decoder.unlinkClusters([clusterOf(3n)]);
  expect(decoder.isLost).toBe(false);
});

test('a push that never returns holds up all pushes, and no pull of another peer', async () => {
  const { calls, watched, pass } = await hanging('pushBlocks');
  await pass(LIMIT_MS);
  expect(watched.outcome).toMatchObject({ ...UNRESPONSIVE, operation: 'pushBlocks', clusterId: 1n });
  const refused = await rejection(calls['push to the other']!());
  expect(refused).toMatchObject({ ...UNRESPONSIVE, clusterId: 3n });
  expect(String(refused)).toContain('a push to cluster 1 has not returned from the library');
  expect(String(refused)).toContain('one lock for all pushes');
  await calls['pull of the other']!();
});

test('an unlink that waits for the transfer is refused when that is given up', async () => {
  const { decoder, pass } = await hanging('pullBlocks');
  const unlinked = watch(decoder.unlinkClusters([clusterOf(1n)]));
  await pass(LIMIT_MS - 1);
  expect(unlinked.outcome).toBe('pending');
  await pass(1);
  expect(unlinked.outcome).toMatchObject({ ...UNRESPONSIVE, operation: 'unlinkClusters' });
  expect(decoder.isLost).toBe(false);
});

test('the cache of the transfer is not unregistered', async () => {
  const { decoder, decoderCache, pass } = await hanging('pullBlocks');
  const { kvCacheManager: caches } = decoder;
  await pass(LIMIT_MS);
  expect(await rejection(caches.deallocateCache(decoderCache))).toMatchObject({
    ...UNRESPONSIVE,
    operation: 'deallocateCache',
  });
  expect(decoder.isLost).toBe(false);
});

test.each([true, false])('a cache whose unregistration was refused stays registered: guards %s', async (guards) => {
  const net = await star({}, { guards });
  const { fabric, decoder, decoderCache, calls } = net;
  const { kvCacheManager: caches } = decoder;
  const fault = fabric.inject({ op: 'pullBlocks', peer: 1n, times: 1, hang: true });
  const watched = watch(calls.pullBlocks!());
  await fabric.clock.advance(LIMIT_MS);
  await turn();
  expect(watched.outcome).toMatchObject(UNRESPONSIVE);
  const methods = [
    () => caches.unregisterCache(decoderCache),
    () => caches.deallocateCache(decoderCache),
    () => caches.unregisterCache(decoderCache),
  ];
  for (const method of methods) expect(await rejection(method())).toMatchObject(UNRESPONSIVE);
  await calls['pull of the other']!();
  const refused = (await rejection(caches.deallocateCache(decoderCache))) as Refusal;
  fault.remove();
  await refused.released;
  await caches.deallocateCache(decoderCache);
});

test('finalize() rejects in its time with the loss, and the library is not asked to finalize', async () => {
  const { fabric, decoder, pass } = await hanging('pullBlocks');
  await pass(LIMIT_MS);
  const finalized = watch(decoder.finalize());
  await pass(LIMIT_MS - 1);
  expect(finalized.outcome).toBe('pending');
  await pass(1);
  expect(finalized.outcome).toMatchObject({ code: 'LLM_TIMEOUT', recovery: 'fatal', operation: 'finalize' });
  expect(decoder.isLost).toBe(true);
  expect(fabric.history.filter(({ op, node }) => op === 'finalize' && node === 2n)).toEqual([]);
});

test('the peer is used again when the call has come back after all', async () => {
  const { decoder, calls, fault, pass } = await hanging('pullBlocks');
  await pass(LIMIT_MS);
  fault.remove();
  await pass(0);
  await calls.pullBlocks!();
  await decoder.unlinkClusters([clusterOf(1n)]);
  await decoder.linkClusters([clusterOf(1n)]);
  await calls.pullBlocks!();
});

interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly released: Promise<void>;
}

/** What a call is rejected with. */
async function refusalOf(call: Promise<unknown>): Promise<Refusal> {
  return (await rejection(call)) as Refusal;
}

describe.each(['manual', 'real'] as const)('when `released` has resolved, with a %s clock', (clock) => {
  async function givenUp(op: 'pullBlocks' | 'pushBlocks', hasMoreBehind: boolean) {
    const net = await star({ clock: clock as 'manual' }, { hangTimeout: 20 }, DESC, { syncKvTimeout: 1 });
    const { fabric, calls } = net;
    const fault = fabric.inject({ op, peer: 1n, times: 1, hang: true });
    const first = refusalOf(calls[op]!());
    const behind = hasMoreBehind ? [refusalOf(calls.pullCache!()), refusalOf(calls.pushCache!())] : [];
    if (clock === 'manual') await fabric.clock.advance(LIMIT_MS);
    await Promise.all(behind);
    return { ...net, fault, error: await first };
  }

  const NEXT: Record<string, (net: Awaited<ReturnType<typeof givenUp>>) => Promise<unknown>> = {
    'an unlink': ({ decoder }) => decoder.unlinkClusters([clusterOf(1n)], { force: true }),
    'a pull': ({ calls }) => calls.pullBlocks!(),
    'a push': ({ calls }) => calls.pushBlocks!(),
    'a push to another peer': ({ calls }) => calls['push to the other']!(),
    'the end of the cache': ({ decoder, decoderCache }) => decoder.kvCacheManager.deallocateCache(decoderCache),
  };

  describe.each(['pullBlocks', 'pushBlocks'] as const)('%s', (op) => {
    test.each(Object.keys(NEXT))('passes: %s', async (name) => {
      for (const hasMoreBehind of [false, true]) {
        const net = await givenUp(op, hasMoreBehind);
        net.fault.remove();
        await net.error.released;
        await NEXT[name]!(net);
        net.fabric.close();
      }
    });

    test.each(Object.keys(NEXT))('of its refusal, which is pending until then, passes: %s', async (name) => {
      const net = await givenUp(op, true);
      const call = NEXT[name]!;
      const outcome = await call(net).then(
        () => undefined,
        (error: unknown) => error as Refusal,
      );
      // A push to another peer does not wait for a pull.
      if (outcome === undefined) return;
      expect(outcome).toMatchObject(UNRESPONSIVE);
      const watched = watch(outcome.released);
      await turn();
      expect(watched.outcome).toBe('pending');
      net.fault.remove();
      await outcome.released;
      await call(net);
    });
  });
});

/** As many requests as a caller may have under way, each of which does what README says of `retry`. */
const REQUESTS = 32;

test('requests that follow `retry` wait for the return and do not spin', async () => {
  const { decoder, promptCache, decoderCache, fault, pass } = await hanging('pullBlocks');
  const { kvCacheManager: caches } = decoder;
  let calls = 0;
  const request = async () => {
    for (;;) {
      calls += 1;
      try {
        await caches.pullBlocks(promptCache.key(), decoderCache, [1], [1]);
        return;
      } catch (error) {
        expect(error).toMatchObject(UNRESPONSIVE);
        await (error as Refusal).released;
      }
    }
  };
  const requests = watch(Promise.all(Array.from({ length: REQUESTS }, request)));
  await pass(LIMIT_MS);
  for (let i = 0; i < 100; i++) await turn();
  // Each has waited behind the one that hangs, and was refused once.
  expect(calls).toBe(2 * REQUESTS);
  fault.remove();
  for (let i = 0; i < 100; i++) await turn();
  expect(requests.outcome).not.toBe('pending');
  expect(calls).toBe(3 * REQUESTS);
});

test('`released` of a refusal rejects with the loss of the instance, and need not be handled', async () => {
  const { decoder, decoderCache, calls, pass } = await hanging('pullBlocks');
  await pass(LIMIT_MS);
  const refusals = [
    await refusalOf(calls.pullBlocks!()),
    await refusalOf(decoder.linkClusters([clusterOf(1n)])),
    await refusalOf(decoder.kvCacheManager.deallocateCache(decoderCache)),
  ];
  const finalized = watch(decoder.finalize());
  await pass(LIMIT_MS);
  expect(decoder.isLost).toBe(true);
  for (const { released } of refusals) expect(await rejection(released)).toBe(finalized.outcome);
});

test.each([
  ['push', 'pull'],
  ['pull', 'push'],
] as const)(
  'a %s that hangs is what is reported, also where a %s behind it ran into its limit with it',
  async (kind, other) => {
    const { calls, fault, pass } = await hanging(`${kind}Blocks`);
    const behind = watch(calls[`${other}Blocks`]!());
    const more = watch(calls.pushCache!());
    await pass(LIMIT_MS);
    const text = `a ${kind} ${kind === 'push' ? 'to' : 'from'} cluster 1 has not returned from the library for 61000 ms`;
    for (const { outcome } of [behind, more]) expect(String(outcome)).toContain(text);
    for (const name of ['pullBlocks', 'pushBlocks', 'pushCache']) {
      expect((await refusalOf(calls[name]!())).message).toContain(text);
    }
    if (kind === 'push') {
      const refused = await refusalOf(calls['push to the other']!());
      expect(refused.message).toContain('a push to cluster 1 has not returned');
    } else {
      await calls['push to the other']!();
    }
    fault.remove();
    await pass(0);
    await calls['push to the other']!();
  },
);

/** A backend whose clock ends all deadlines of a moment in one go, with nothing in between. */
async function abrupt(hangsFirst: 'pull' | 'push') {
  let now = 0;
  const deadlines = new Set<{ readonly at: number; readonly expire: () => void }>();
  const clock = {
    now: () => now,
    deadline: (ms: number, expire: () => void) => {
      const deadline = { at: now + ms, expire };
      deadlines.add(deadline);
      return () => deadlines.delete(deadline);
    },
  };
  const ends: (() => void)[] = [];
  const transfer = () => new Promise<void>((resolve) => ends.push(resolve));
  const { dist, caches } = await initialised(
    {},
    {
      clock,
      transfersEnd: false,
      pullKvBlocks: transfer,
      pushKvBlocks: transfer,
      lastCall: () => ends.length,
      // The first call is inside, and the others wait for it.
      withdraw: (call) => {
        if (call === 1) return false;
        setImmediate(() => ends[call - 1]?.());
        return true;
      },
    },
  );
  const cache = await caches.allocateCache(DESC);
  const call = (kind: 'pull' | 'push', clusterId = 1n) =>
    kind === 'pull'
      ? caches.pullBlocks({ clusterId, cacheId: 1n }, cache, [0], [0])
      : caches.pushBlocks({ clusterId, cacheId: 1n }, cache, [1], [1]);
  const first = watch(call(hangsFirst));
  const second = watch(call(hangsFirst === 'pull' ? 'push' : 'pull'));
  const pass = async (
    ms: number,
    order: (all: Iterable<{ at: number; expire: () => void }>) => { at: number; expire: () => void }[],
  ) => {
    now += ms;
    for (const deadline of order(deadlines)) if (deadline.at <= now && deadlines.delete(deadline)) deadline.expire();
    await turn();
  };
  const end = async () => {
    await caches.deallocateCache(cache);
    await dist.finalize();
  };
  return { end, ends, call, first, second, pass };
}

describe.each(['pull', 'push'] as const)('a %s that hangs', (kind) => {
  test.each([
    ['before', false],
    ['after', true],
  ])('is the one that is reported where its lane ends just %s that of what waits behind it', async (_, isReversed) => {
    const { end, ends, call, first, second, pass } = await abrupt(kind);
    await pass(LIMIT_MS, (all) => (isReversed ? [...all].reverse() : [...all]));
    const text = `a ${kind} ${kind === 'push' ? 'to' : 'from'} cluster 1 has not returned from the library for 61000 ms`;
    for (const { outcome } of [first, second]) expect(String(outcome)).toContain(text);
    for (const other of ['pull', 'push'] as const) expect((await refusalOf(call(other))).message).toContain(text);
    const toOther = watch(call('push', 3n));
    await turn();
    expect(String(toOther.outcome)).toContain(kind === 'push' ? text : 'pending');
    for (const comeBack of ends) comeBack();
    await (first.outcome as Refusal).released;
    const again = watch(call(kind));
    for (const comeBack of ends) comeBack();
    await turn();
    expect([toOther.outcome, again.outcome]).toEqual([kind === 'push' ? toOther.outcome : 'resolved', 'resolved']);
    await end();
  });
});

test('a lane that runs out of its time before the one that really hangs reports that one', async () => {
  const { fabric, calls } = await star();
  // The pull is the first of its lane all the time, and waits for the link that the push holds.
  fabric.inject({ op: 'pullBlocks', peer: 1n, times: 1, delayMs: 10 });
  fabric.inject({ op: 'pushBlocks', peer: 1n, times: 1, hang: true });
  const first = calls.pullBlocks!();
  const push = watch(calls.pushBlocks!());
  const behind = watch(calls.pullCache!());
  await fabric.clock.advance(10);
  await first;
  await fabric.clock.advance(LIMIT_MS);
  await turn();
  for (const { outcome } of [push, behind]) expect(String(outcome)).toContain('a push to cluster 1 has not returned');
  expect((await refusalOf(calls['push to the other']!())).message).toContain('a push to cluster 1 has not returned');
});

test('a push that goes on when the one ahead of it was taken back is watched too', async () => {
  const { end, call, first, second, ends, pass } = await abrupt('pull');
  const push = watch(call('push', 3n));
  await pass(LIMIT_MS, (all) => [...all]);
  for (const { outcome } of [first, second]) expect(outcome).toMatchObject({ ...UNRESPONSIVE, clusterId: 1n });
  expect(push.outcome).toBe('pending');
  await pass(LIMIT_MS, (all) => [...all]);
  expect(push.outcome).toMatchObject({ ...UNRESPONSIVE, clusterId: 3n });
  for (const comeBack of ends) comeBack();
  await turn();
  await end();
});

import type { Fault } from '../lib/testing';
import { bytesOf, DESC, rejection } from './fixtures/cluster';
import { clusterOf, newFabric, pass, sleepers, start, stateOf } from './fixtures/fabric';
import { star } from './fixtures/star';
import type { Star } from './fixtures/star';

const TRANSFERS = ['pullBlocks', 'pullCache', 'pushBlocks', 'pushCache'] as const;

/** What goes on while a transfer with node 1 is held up. */
const FREE: Readonly<Record<string, readonly string[]>> = {
  pullBlocks: ['pull of the other', 'push to the other'],
  pullCache: ['pull of the other', 'push to the other'],
  pushBlocks: ['pull of the other'],
  pushCache: ['pull of the other'],
};

/** The calls that do not end while the first one of an operation is under a fault. */
async function heldUp({ fabric, calls }: Star, op: (typeof TRANSFERS)[number], fault: Partial<Fault>) {
  fabric.inject({ op, times: 1, ...fault });
  const first = calls[op]!();
  first.catch(() => undefined);
  const rest = Object.entries(calls).map(([name, call]) => {
    const outcome = call();
    outcome.catch(() => undefined);
    return { name, outcome };
  });
  const states = await Promise.all(rest.map(async ({ name, outcome }) => ({ name, state: await stateOf(outcome) })));
  expect(await stateOf(first)).toBe('pending');
  return { first, rest, states };
}

describe.each(TRANSFERS)('a %s under a fault', (op) => {
  describe.each([['hangs', { hang: true }] as const, ['is delayed', { delayMs: 20 }] as const])(
    'that %s',
    (_, effect) => {
      test.each([undefined, 'link'] as const)('holds what the library’s mutexes hold (hold: %p)', async (hold) => {
        const { rest, states } = await heldUp(await star(), op, hold === undefined ? effect : { ...effect, hold });
        const free = new Set(FREE[op]);
        expect(states).toEqual(rest.map(({ name }) => ({ name, state: free.has(name) ? 'resolved' : 'pending' })));
      });

      test('holds itself only where the fault says so', async () => {
        const { states } = await heldUp(await star(), op, { ...effect, hold: 'call' });
        expect(states.filter(({ state }) => state !== 'resolved')).toEqual([]);
      });

      test('lets the others go on, in their order, when its instance is killed or gives it up', async () => {
        const net = await star();
        const { first, rest } = await heldUp(net, op, effect);
        net.fabric.kill(net.decoder);
        expect(await rejection(first)).toMatchObject({ code: 'LLM_FAILED' });
        for (const { name, outcome } of rest) {
          if (!FREE[op]!.includes(name)) expect(await rejection(outcome)).toMatchObject({ code: 'LLM_FAILED' });
        }
      });
    },
  );

  test('that is delayed lets the next ones go on afterwards', async () => {
    const net = await star();
    const { first, rest } = await heldUp(net, op, { delayMs: 20 });
    await pass(net.fabric, 19);
    expect(await stateOf(first)).toBe('pending');
    await pass(net.fabric, 1);
    await Promise.all([first, ...rest.map(({ outcome }) => outcome)]);
    expect(net.fabric.history.filter(({ state }) => state === 'in flight')).toEqual([]);
  });
});

test('two delayed pulls over one link take the time of both, those over two links the time of one', async () => {
  const { fabric, calls } = await star();
  fabric.inject({ op: 'pullBlocks', delayMs: 20 });
  const ends: string[] = [];
  const note = (name: string, call: Promise<void>) => call.then(() => ends.push(`${name} ${fabric.clock.now()}`));
  const all = [
    note('first', calls.pullBlocks!()),
    note('second', calls.pullBlocks!()),
    note('other', calls['pull of the other']!()),
  ];
  await pass(fabric, 100);
  await Promise.all(all);
  expect(ends).toEqual(['first 20', 'other 20', 'second 40']);
});

test('a push that is delayed with some layers moved holds its link in between', async () => {
  const { fabric, calls, promptCache } = await star();
  const before = await bytesOf(promptCache);
  fabric.inject({ op: 'pushBlocks', times: 1, partialLayers: 1, delayMs: 20 });
  const push = rejection(calls.pushBlocks!());
  const pull = calls.pullBlocks!();
  await sleepers(fabric, 1);
  expect((await bytesOf(promptCache)).equals(before)).toBe(false);
  expect(await stateOf(pull)).toBe('pending');
  await pass(fabric, 20);
  expect(await push).toMatchObject({ code: 'LLM_FAILED' });
  await pull;
});

test('the death of a peer ends a delayed pull, and those that wait behind it', async () => {
  const { fabric, prompt, calls } = await star();
  fabric.inject({ op: 'pullBlocks', times: 2, delayMs: 20 });
  const pulls = [calls.pullBlocks!(), calls.pullBlocks!(), calls.pullCache!()].map(rejection);
  await sleepers(fabric, 1);
  fabric.kill(prompt);
  for (const pull of pulls) expect(await pull).toMatchObject({ code: 'LLM_FAILED', clusterId: 1n });
  await calls['pull of the other']!();
  expect(fabric.clock.now()).toBe(0);
});

test('an unlink waits for a pull that hangs, by force too, and is refused when that is given up', async () => {
  const net = await star({}, { hangTimeout: 100 });
  const { fabric, decoder, calls } = net;
  fabric.inject({ op: 'pullBlocks', times: 1, hang: true });
  const pulls = [rejection(calls.pullBlocks!()), rejection(calls.pullCache!())];
  const unlink = rejection(decoder.unlinkClusters([clusterOf(1n)], { force: true }));
  await pass(fabric, 60_000);
  expect(await unlink).toMatchObject({ code: 'LLM_TIMEOUT', recovery: 'retry' });
  for (const pull of pulls) expect(await pull).toMatchObject({ code: 'LLM_TIMEOUT', deadline: 'package' });
  expect(decoder.isLost).toBe(false);
  await pass(fabric, 0);
  expect(fabric.history.filter(({ op, bytes }) => op === 'pullCache' && bytes > 0)).toEqual([]);
});

test('an instance that gives up a held link moves nothing more over it', async () => {
  const net = await star({}, { hangTimeout: 100 });
  const { fabric, prompt, promptCache, decoder, calls } = net;
  const before = await bytesOf(promptCache);
  fabric.inject({ op: 'pushBlocks', times: 1, hang: true });
  const pushes = [
    rejection(calls.pushBlocks!()),
    rejection(calls.pushCache!()),
    rejection(calls['push to the other']!()),
  ];
  const end = rejection(decoder.finalize());
  await pass(fabric, 60_000);
  expect(await end).toMatchObject({ code: 'LLM_TIMEOUT', recovery: 'fatal' });
  for (const push of pushes) expect(await push).toMatchObject({ code: 'LLM_TIMEOUT', deadline: 'package' });
  await pass(fabric, 0);
  expect(await bytesOf(promptCache)).toEqual(before);
  expect(prompt.isLost).toBe(false);
});

test('a transfer without a link is held up alone', async () => {
  const fabric = newFabric({ strict: false });
  const dist = await start(fabric, 1n);
  const cache = await dist.kvCacheManager.allocateCache(DESC);
  fabric.inject({ op: 'pullCache', times: 1, delayMs: 20 });
  const { kvCacheManager: caches } = dist;
  const slow = rejection(caches.pullCache({ clusterId: 9n, cacheId: 1n }, cache));
  expect(await rejection(caches.pullCache({ clusterId: 9n, cacheId: 1n }, cache))).toMatchObject({
    code: 'LLM_NOT_YET_LINK',
  });
  await pass(fabric, 20);
  expect(await slow).toMatchObject({ code: 'LLM_NOT_YET_LINK' });
});

test('a report names what a fault does not hold', () => {
  const fabric = newFabric();
  fabric.inject({ op: 'pullBlocks', times: 2, hang: true, hold: 'call' });
  fabric.inject({ op: 'pullCache', delayMs: 5, hold: 'link' });
  expect(() => {
    fabric.assertNoPendingFaults();
  }).toThrow(
    expect.objectContaining({
      message: expect.stringMatching(
        /pullBlocks 2 times -> hangs, holds the call only: 0 of 2 hits\n {2}pullCache -> 5 ms: 0 hits$/,
      ) as string,
    }) as Error,
  );
});

test.each<[string, unknown, string]>([
  ['what there is not', { op: 'pullBlocks', hang: true, hold: 'instance' }, 'ERR_OUT_OF_RANGE'],
  ['no text', { op: 'pullBlocks', hang: true, hold: true }, 'ERR_INVALID_ARG_TYPE'],
  ['null', { op: 'pullBlocks', hang: true, hold: null }, 'ERR_INVALID_ARG_TYPE'],
  ['nothing that lasts', { op: 'pullBlocks', status: 1, hold: 'link' }, 'ERR_OUT_OF_RANGE'],
  ['a hang that is off', { op: 'pullBlocks', status: 1, hang: false, hold: 'call' }, 'ERR_OUT_OF_RANGE'],
  ['a link of what has none', { op: 'linkClusters', hang: true, hold: 'link' }, 'ERR_OUT_OF_RANGE'],
  [
    'a call among others that have no link',
    { op: ['pullCache', 'read'], delayMs: 1, hold: 'call' },
    'ERR_OUT_OF_RANGE',
  ],
])('hold is refused: %s', (_, fault, code) => {
  const fabric = newFabric();
  expect(() => fabric.inject(fault as Fault)).toThrow(expect.objectContaining({ code }) as Error);
  fabric.assertNoPendingFaults();
});

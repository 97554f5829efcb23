import { LLMRole } from '../lib';
import { ControlQueue } from '../lib/control-queue';
import { Uses } from '../lib/uses';
import { turn } from './bad-input/states';
import { expectQuietProcess } from './bad-input/quiet-process';
import { client, TO_PROMPT } from './fixtures/client';
import type { Client } from './fixtures/client';
import { DESC, rejection } from './fixtures/cluster';
import { hold } from './fixtures/held-calls';
import { warningsDuring } from './fixtures/warnings';

expectQuietProcess();

const ONE = { ...DESC, numTensors: 1 };

/** Every control call, with the method of the seam in which it waits first. */
const CONTROL: [string, Parameters<typeof hold>[1], (nodes: Client) => Promise<unknown>][] = [
  ['init', 'initialize', ({ decoder }) => decoder.dist.init({ deviceId: 0 })],
  ['switchRole', 'setRole', ({ decoder }) => decoder.dist.switchRole(LLMRole.MIX)],
  ['linkClusters', 'linkLlmClusters', ({ decoder }) => decoder.dist.linkClusters([TO_PROMPT])],
  ['unlinkClusters', 'unlinkLlmClusters', ({ decoder }) => decoder.dist.unlinkClusters([TO_PROMPT])],
  ['registerCache', 'registerKvCache', ({ caches }) => caches.registerCache(ONE, [4096n])],
  ['unregisterCache', 'unregisterKvCache', ({ caches }) => caches.unregisterCache(99n)],
  ['allocateCache', 'registerKvCache', ({ caches }) => caches.allocateCache(DESC)],
];

const settled = (call: Promise<unknown>) => call.catch((error: unknown) => error);

describe.each([true, false])('control calls (guards: %s)', (guards) => {
  test.each(CONTROL)('%s holds up every later one, and they go in the order of the calls', async (_, method, call) => {
    const nodes = await client({ guards });
    const cache = await nodes.caches.allocateCache(DESC);
    nodes.calls.length = 0;
    const held = hold(nodes.backend, method);
    const first = settled(call(nodes));
    await held.hasEntered(1);
    const before = nodes.calls.length;
    const others = [
      nodes.decoder.dist.switchRole(LLMRole.PROMPT),
      nodes.caches.registerCache(DESC, [4096n]),
      nodes.decoder.dist.unlinkClusters([TO_PROMPT], { force: true }),
      nodes.caches.unregisterCache(cache),
      nodes.decoder.dist.linkClusters([TO_PROMPT]),
      nodes.caches.allocateCache(ONE),
      nodes.decoder.dist.init({ deviceId: 3 }),
      warningsDuring(() => nodes.decoder.dist.finalize()),
    ].map(settled);
    await turn();
    expect(held.entered).toBe(1);
    expect(nodes.calls).toHaveLength(before);
    held.open();
    await Promise.all([first, ...others]);
    const order = [
      'setRole',
      'registerKvCache',
      'unlinkLlmClusters',
      'unregisterKvCache',
      'linkLlmClusters',
      'allocateCache',
      'malloc',
      'registerKvCache',
      'initialize',
      'finalize',
    ];
    const made = nodes.calls.filter((name) => name !== 'free');
    expect(made.slice(-order.length)).toEqual(order);
  });

  test('do not hold up transfers, copies and memory', async () => {
    const { decoder, caches, backend, remote } = await client({ guards });
    const { dist } = decoder;
    const cache = await caches.allocateCache(DESC);
    await dist.linkClusters([TO_PROMPT]);
    const held = hold(backend, 'linkLlmClusters');
    const linked = settled(dist.linkClusters([TO_PROMPT]));
    await held.hasEntered(1);
    const region = await dist.allocateMemory(64);
    await region.write(Uint8Array.of(1));
    await region.free();
    await caches.pullCache(remote.key(), cache);
    await caches.pushBlocks(remote.key(), cache, [0], [1]);
    await caches.copyBlocks(cache, new Map([[0, [1]]]));
    held.open();
    await linked;
  });

  test('that fail let the next one come', async () => {
    const { caches, decoder } = await client({ guards });
    const failed = rejection(caches.registerCache(DESC, [4096n]));
    const linked = decoder.dist.linkClusters([TO_PROMPT]);
    expect(await failed).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    await linked;
  });
});

test('a cache is judged when its turn comes: memory that is unregistered before it is free again', async () => {
  const { decoder, caches } = await client();
  const region = await decoder.dist.allocateMemory(256);
  const first = await caches.registerCache(ONE, [region.address]);
  const ended = caches.unregisterCache(first);
  const second = await caches.registerCache(ONE, [region.address]);
  await ended;
  expect(second.cacheId).toBe(2n);
});

test('an empty queue runs work on the turn of the caller, and is empty again when it has ended', async () => {
  const queue = new ControlQueue();
  const order: string[] = [];
  const work = (name: string) => async () => {
    order.push(name);
    await turn();
    order.push(`${name} ends`);
  };
  const first = queue.run(work('first'));
  const second = queue.run(work('second'));
  order.push('called');
  expect(queue.isEmpty).toBe(false);
  await first;
  expect(queue.isEmpty).toBe(false);
  await second;
  await turn();
  expect(queue.isEmpty).toBe(true);
  expect(order).toEqual(['first', 'called', 'first ends', 'second', 'second ends']);
});

describe('uses', () => {
  test('wake all who wait when the last one has left, and nobody waits for none', async () => {
    const uses = new Uses();
    await uses.whenIdle();
    uses.count += 1;
    uses.count += 1;
    let idle = 0;
    const waiting = [uses.whenIdle(), uses.whenIdle()].map((wait) => wait.then(() => (idle += 1)));
    uses.leave();
    await turn();
    expect([uses.count, idle]).toEqual([1, 0]);
    uses.leave();
    await Promise.all(waiting);
    expect([uses.count, idle]).toEqual([0, 2]);
  });

  test('tell steps apart from standing still', () => {
    const uses = new Uses();
    uses.count += 1;
    const before = uses.moves;
    uses.move();
    expect(uses.moves).toBeGreaterThan(before);
    uses.leave();
    expect(uses.moves).toBeGreaterThan(before + 1);
  });
});

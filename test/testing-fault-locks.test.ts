import { bytesOf, DESC, fill, rejection } from './fixtures/cluster';
import { clusterOf, linked, pass, sleepers, start, stateOf } from './fixtures/fabric';
import { star } from './fixtures/star';
import type { Star } from './fixtures/star';
import { LLMRole } from '../lib';
import type { KvCache } from '../lib';

const HIXL = { transferBackend: 'hixl' } as const;

/** Node 2 pulls from node 1 and gets no answer. */
async function hungPull(...args: Parameters<typeof star>) {
  const net = await star(...args);
  const fault = net.fabric.inject({ op: 'pullBlocks', peer: 1n, times: 1, hang: true });
  const hung = net.calls.pullBlocks!();
  hung.catch(() => undefined);
  expect(await stateOf(hung)).toBe('pending');
  return { ...net, fault, hung };
}

/** The peer of the hung pull has died, and comes back. */
async function comesBack({ fabric, prompt }: Star) {
  fabric.kill(prompt);
  fabric.restart(1n);
  const next = await start(fabric, 1n);
  const cache = await next.kvCacheManager.allocateCache(DESC);
  await fill(cache, 33);
  return { next, cache };
}

/** What node 2 can do about others meanwhile. */
async function others({ calls, decoder, fabric }: Star) {
  await start(fabric, 4n);
  const all = {
    pull: calls['pull of the other']!(),
    push: calls['push to the other']!(),
    link: decoder.linkClusters([clusterOf(4n)], { timeout: 100 }),
  };
  for (const each of Object.values(all)) each.catch(() => undefined);
  return all;
}

test('a peer that comes back and links anew waits for the hung pull, with all links of the other side locked', async () => {
  const net = await hungPull();
  const { fabric, fault, hung } = net;
  const { next } = await comesBack(net);
  const link = next.linkClusters([clusterOf(2n)], { timeout: 500 });
  link.catch(() => undefined);
  await sleepers(fabric, 1);
  const all = await others(net);
  await pass(fabric, 499);
  expect(await stateOf(link)).toBe('pending');
  for (const each of Object.values(all)) expect(await stateOf(each)).toBe('pending');
  await pass(fabric, 1);
  expect(await rejection(link)).toMatchObject({ code: 'LLM_TIMEOUT' });
  // The side that has the lock does not know that nobody waits for it any more.
  for (const each of Object.values(all)) expect(await stateOf(each)).toBe('pending');
  fault.remove();
  expect(await rejection(hung)).toMatchObject({ code: 'LLM_FAILED' });
  await Promise.all(Object.values(all));
  await next.linkClusters([clusterOf(2n)]);
  expect(fabric.history.filter(({ state }) => state === 'in flight')).toEqual([]);
});

test('a link anew that is in time takes the place of the one that was held', async () => {
  const net = await hungPull();
  const { fabric, fault, hung, decoder, decoderCache } = net;
  const { next, cache } = await comesBack(net);
  const link = next.linkClusters([clusterOf(2n)]);
  await sleepers(fabric, 1);
  fault.remove();
  await link;
  expect(await rejection(hung)).toMatchObject({ code: 'LLM_FAILED' });
  // The link is there: the call states the life that it is for.
  const states = decoder.linkClusters([{ ...clusterOf(1n), life: next.life }]);
  expect(await rejection(states)).toMatchObject({ code: 'LLM_ALREADY_LINK' });
  await decoder.kvCacheManager.pullBlocks(cache.key(), decoderCache, [0], [0]);
  expect(fabric.clock.sleeping).toBe(0);
});

test('a peer that unlinks waits for the hung pull, which is whole then', async () => {
  const net = await hungPull();
  const { fabric, prompt, promptCache, decoder, decoderCache, fault, hung } = net;
  const unlink = prompt.unlinkClusters([clusterOf(2n)]);
  unlink.catch(() => undefined);
  await sleepers(fabric, 1);
  const all = await others(net);
  for (const each of [unlink, ...Object.values(all)]) expect(await stateOf(each)).toBe('pending');
  fault.remove();
  await Promise.all([hung, unlink]);
  await Promise.all(Object.values(all));
  const firstBlock = async (cache: KvCache) => (await bytesOf(cache)).subarray(0, 16);
  expect((await firstBlock(decoderCache)).equals(await firstBlock(promptCache))).toBe(true);
  expect(await rejection(decoder.kvCacheManager.pullCache(promptCache.key(), decoderCache))).toMatchObject({
    code: 'LLM_NOT_YET_LINK',
  });
});

test('an unlink of the peer ends with its time, and its side of the link is gone', async () => {
  const { fabric, prompt } = await hungPull();
  const unlink = rejection(prompt.unlinkClusters([clusterOf(2n)], { timeout: 200 }));
  await sleepers(fabric, 1);
  await pass(fabric, 200);
  expect(await unlink).toMatchObject({ code: 'LLM_TIMEOUT' });
  expect(fabric.topology().nodes.map(({ node, links }) => [node, links.map(({ peer }) => peer)])).toEqual([
    [1n, []],
    [2n, [1n, 3n]],
    [3n, [2n]],
  ]);
});

test('a role is switched when the links are unlocked', async () => {
  const net = await hungPull();
  const { fabric, fault, hung, prompt, decoder } = net;
  const unlink = prompt.unlinkClusters([clusterOf(2n)]);
  await sleepers(fabric, 1);
  const options = { listenIpInfo: '10.0.0.2:28000' };
  const switched = decoder.switchRole(LLMRole.DECODER, options);
  expect(await stateOf(switched)).toBe('pending');
  fault.remove();
  await Promise.all([hung, unlink]);
  // The link to node 3 is there still.
  expect(await rejection(switched)).toMatchObject({ code: 'LLM_EXIST_LINK' });
});

test('a delayed push goes on while a peer waits to link anew, and its link is gone afterwards', async () => {
  const net = await star();
  const { fabric, calls, decoder, decoderCache, promptCache } = net;
  fabric.inject({ op: 'pushBlocks', times: 1, delayMs: 100 });
  const push = calls.pushBlocks!();
  await sleepers(fabric, 1);
  const unlink = net.prompt.unlinkClusters([clusterOf(2n)]);
  await sleepers(fabric, 2);
  await pass(fabric, 100);
  await Promise.all([push, unlink]);
  const { kvCacheManager: caches } = decoder;
  expect(await rejection(caches.pushBlocks(promptCache.key(), decoderCache, [0], [0]))).toMatchObject({
    code: 'LLM_NOT_YET_LINK',
  });
});

test('an instance that is killed while others wait for its links lets them go', async () => {
  const net = await hungPull();
  const { fabric, prompt, decoder, hung } = net;
  const unlink = rejection(prompt.unlinkClusters([clusterOf(2n)]));
  await sleepers(fabric, 1);
  fabric.kill(decoder);
  expect(await rejection(hung)).toMatchObject({ code: 'LLM_FAILED' });
  expect(await unlink).toMatchObject({ code: 'LLM_FAILED' });
  expect(fabric.clock.sleeping).toBe(0);
});

test('an instance that was given up holds its links all the same', async () => {
  const net = await hungPull({}, { hangTimeout: 100 });
  const { fabric, fault, decoder, prompt } = net;
  const end = rejection(decoder.finalize());
  await pass(fabric, 60_000);
  expect(await end).toMatchObject({ code: 'LLM_TIMEOUT', recovery: 'fatal' });
  const unlink = prompt.unlinkClusters([clusterOf(2n)], { timeout: 50 });
  unlink.catch(() => undefined);
  expect(await stateOf(unlink)).toBe('pending');
  await pass(fabric, 50);
  expect(await rejection(unlink)).toMatchObject({ code: 'LLM_TIMEOUT' });
  fault.remove();
  await pass(fabric, 0);
  expect(fabric.history.filter(({ bytes }) => bytes > 0)).toEqual([]);
});

describe('hixl', () => {
  test('holds all links for the 30 s that it gives an own peer to disconnect', async () => {
    const net = await star({}, {}, DESC, HIXL);
    const { fabric, decoder, calls } = net;
    fabric.isolate(1n);
    const unlink = rejection(decoder.unlinkClusters([clusterOf(1n)], { timeout: 100 }));
    await sleepers(fabric, 1);
    const pull = calls['pull of the other']!();
    await pass(fabric, 29_999);
    expect(await stateOf(pull)).toBe('pending');
    await pass(fabric, 1);
    await pull;
    expect(await unlink).toMatchObject({ code: 'LLM_TIMEOUT', operation: 'unlinkClusters' });
    expect(await rejection(calls.pullCache!())).toMatchObject({ code: 'LLM_NOT_YET_LINK' });
    fabric.heal();
    await decoder.linkClusters([clusterOf(1n)]);
  });

  test('lets go at once of a peer that has died, and of one that answers', async () => {
    const { fabric, decoder, prompt } = await star({}, {}, DESC, HIXL);
    fabric.kill(prompt);
    await decoder.unlinkClusters([clusterOf(1n), clusterOf(3n)]);
    expect(fabric.clock.now()).toBe(0);
  });
});

describe('the removal of a fault', () => {
  test.each(['pullBlocks', 'pullCache', 'pushBlocks', 'pushCache'] as const)(
    'lets a %s that hangs go on, and those behind it',
    async (op) => {
      const { fabric, calls } = await star();
      const fault = fabric.inject({ op, times: 1, hang: true });
      const all = [calls[op]!(), ...Object.values(calls).map((call) => call())];
      expect(await stateOf(all[0]!)).toBe('pending');
      fault.remove();
      await Promise.all(all);
      expect(fabric.history.filter(({ op: each, bytes }) => each === op && bytes === 0)).toEqual([]);
      // A second time it has nothing to do.
      fault.remove();
    },
  );

  test.each(['linkClusters', 'unlinkClusters'] as const)('lets a %s that hangs go on', async (op) => {
    const { fabric, decoder } = await linked();
    const fault = fabric.inject({ op, times: 1, hang: true });
    await start(fabric, 3n);
    const call =
      op === 'linkClusters' ? decoder.linkClusters([clusterOf(3n)]) : decoder.unlinkClusters([clusterOf(1n)]);
    expect(await stateOf(call)).toBe('pending');
    fault.remove();
    await call;
    const peers = fabric
      .topology()
      .nodes.find(({ node }) => node === 2n)
      ?.links.map(({ peer }) => peer);
    expect(peers).toEqual(op === 'linkClusters' ? [1n, 3n] : []);
  });

  test('fails a push of which some layers were moved', async () => {
    const { fabric, calls } = await star();
    const fault = fabric.inject({ op: 'pushBlocks', times: 1, partialLayers: 1, hang: true });
    const push = calls.pushBlocks!();
    expect(await stateOf(push)).toBe('pending');
    fault.remove();
    expect(await rejection(push)).toMatchObject({ code: 'LLM_FAILED' });
  });

  test('leaves a delay as it is', async () => {
    const { fabric, calls } = await star();
    const fault = fabric.inject({ op: 'pullBlocks', delayMs: 20 });
    const pull = calls.pullBlocks!();
    await sleepers(fabric, 1);
    fault.remove();
    expect(await stateOf(pull)).toBe('pending');
    await pass(fabric, 20);
    await pull;
  });
});

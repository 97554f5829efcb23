import { LLMDataDist, LLMException, LLMRole } from '../lib';
import { rejection, track } from './fixtures/cluster';
import {
  DESC,
  firstBlock,
  inFlight,
  linkedNodes,
  originalBlock,
  pull,
  rehearse,
  sleepers,
  startNode,
} from './fixtures/rehearsal';
import type { RehearsedNode } from './fixtures/rehearsal';
import { clusterAt, freePort } from './fixtures/tcp-node';

jest.setTimeout(120_000);

const ALL = [0, 1, 2, 3];

/** Pushes all blocks of node 2 to node 1. */
const push = ({ node }: RehearsedNode, { key }: RehearsedNode) => node.call('push', key, 0, ALL, ALL);

async function bytesOf({ node }: RehearsedNode): Promise<Uint8Array> {
  return node.call('bytes', 0);
}

function differences(a: Uint8Array, b: Uint8Array): number {
  return a.reduce((count, byte, i) => count + Number(byte !== b[i]), 0);
}

test('a status hits the call of another process, and only that', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  const fault = await fabric.inject({ op: 'pullBlocks', node: 2n, peer: 1n, times: 1, status: 'LLM_LINK_BUSY' });
  await expect(fabric.assertNoPendingFaults()).rejects.toThrow(/pullBlocks of cluster 2 with cluster 1.*0 of 1 hits/);
  await expect(pull(decoder, prompt)).rejects.toThrow('LLM_LINK_BUSY');
  expect(await fault.hits).toBe(1);
  await fabric.assertNoPendingFaults();
  await pull(decoder, prompt);
  expect(await firstBlock(decoder)).toEqual(originalBlock(10));
});

test('a fault that was removed hits nothing', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  const fault = await fabric.inject({ op: 'pullBlocks', status: 'LLM_LINK_BUSY' });
  await expect(pull(decoder, prompt)).rejects.toThrow('LLM_LINK_BUSY');
  await fault.remove();
  await pull(decoder, prompt);
  expect(await fault.hits).toBe(1);
  await fabric.assertNoPendingFaults();
});

test('skip and times count the calls of all processes', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  const third = await startNode(fabric, 3n);
  await third.node.call('link', [clusterAt(1n, prompt.port)]);
  await fabric.inject({ op: 'pullBlocks', peer: 1n, skip: 5, times: 7, status: 'LLM_LINK_BUSY' });
  const codes = await Promise.all([decoder, third].map(({ node }) => node.call('pulls', 10, prompt.key, 0)));
  const all = codes.flat();
  expect(all.filter((code) => code === 'LLM_LINK_BUSY')).toHaveLength(7);
  expect(all.filter((code) => code === 'done')).toHaveLength(13);
  await fabric.assertNoPendingFaults();
});

test('a kill ends a call whose fault is still asked for', async () => {
  const fabric = await rehearse();
  const port = await freePort();
  const [one, two] = [1n, 2n].map((id) => track(new LLMDataDist(LLMRole.MIX, id, { backend: fabric.backend })));
  await one!.init({ deviceId: 1, listenIpInfo: `127.0.0.1:${port}` });
  await two!.init({ deviceId: 2 });
  const from = await one!.kvCacheManager.allocateCache(DESC);
  const to = await two!.kvCacheManager.allocateCache(DESC);
  await two!.linkClusters([clusterAt(1n, port)]);
  await fabric.inject({ op: 'pullBlocks', delayMs: 300 });
  const pulling = rejection(two!.kvCacheManager.pullBlocks(from.key(), to, [0], [0]));
  await fabric.kill(one!);
  expect(await pulling).toMatchObject({ code: 'LLM_FAILED', message: expect.stringMatching(/was killed/) as string });
  expect(fabric.clock.now()).toBe(0);
});

test('any process injects, whether it has an instance or not', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  await prompt.node.call('control', 'inject', { op: 'pullBlocks', node: 2n, times: 1, status: 'LLM_TIMEOUT' });
  await expect(pull(decoder, prompt)).rejects.toThrow('LLM_TIMEOUT');
  const wrong = { op: 'pullBlocks', node: 2n };
  await expect(prompt.node.call('control', 'inject', wrong)).rejects.toThrow('RangeError');
  await expect(fabric.inject({ op: 'pullBlocks' })).rejects.toThrow(RangeError);
});

test('a fault of one peer of a link call leaves the others alone', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  const third = await startNode(fabric, 3n);
  await fabric.inject({ op: 'linkClusters', peer: 1n, times: 1, status: 'LLM_LINK_FAILED' });
  const clusters = [clusterAt(1n, prompt.port), clusterAt(2n, decoder.port)];
  await expect(third.node.call('link', clusters)).rejects.toThrow('LLM_LINK_FAILED');
  const { nodes } = await fabric.topology();
  expect(nodes.find(({ node }) => node === 3n)?.links.map(({ peer }) => peer)).toEqual([2n]);
});

test('a delay passes on the clock of all, and holds the link as the mutex of the library does', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  await fabric.inject({ op: 'pullBlocks', times: 1, delayMs: 500 });
  const ended: string[] = [];
  const first = pull(decoder, prompt).then(() => ended.push('first'));
  await sleepers(fabric, 1);
  const second = pull(decoder, prompt).then(() => ended.push('second'));
  await inFlight(fabric, 2);
  await fabric.clock.advance(499);
  expect(await fabric.clock.nextDueMs).toBe(500);
  expect(ended).toEqual([]);
  await fabric.clock.advance(1);
  await Promise.all([first, second]);
  expect(ended).toEqual(['first', 'second']);
  const pulls = (await fabric.history).filter(({ op }) => op === 'pullBlocks');
  expect(pulls.map(({ durationMs }) => durationMs)).toEqual([500, 500]);
});

test('with hold: call a delay keeps nothing else from the link', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  await fabric.inject({ op: 'pullBlocks', times: 1, delayMs: 500, hold: 'call' });
  const first = pull(decoder, prompt);
  await sleepers(fabric, 1);
  await pull(decoder, prompt);
  await fabric.clock.advance(500);
  await first;
});

test('a call that hangs ends with its node', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  await fabric.inject({ op: 'pullBlocks', times: 1, hang: true });
  const hung = expect(pull(decoder, prompt)).rejects.toThrow('LLM_FAILED');
  await inFlight(fabric, 1);
  await fabric.kill(2n);
  await hung;
  expect((await fabric.topology()).nodes.map(({ node, state }) => [node, state])).toEqual([
    [1n, 'initialised'],
    [2n, 'down'],
  ]);
});

test('a call that hangs goes on when its fault is removed, from whichever process', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  const fault = await fabric.inject({ op: 'pullBlocks', times: 1, hang: true });
  const hung = pull(decoder, prompt);
  await inFlight(fabric, 1);
  await fault.remove();
  await hung;
  expect(await firstBlock(decoder)).toEqual(originalBlock(10));
});

test('a fault that is spent is not removed by that', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  await fabric.inject({ op: 'pullBlocks', times: 1, hang: true });
  const hung = expect(pull(decoder, prompt)).rejects.toThrow('LLM_FAILED');
  await inFlight(fabric, 1);
  // All processes learn which faults there are.
  await (await fabric.inject({ op: 'pullCache', status: 'LLM_TIMEOUT' })).remove();
  expect((await fabric.history).filter(({ state }) => state === 'in flight')).toHaveLength(1);
  await fabric.kill(2n);
  await hung;
});

test('a peer that comes back waits for a pull that hangs, and so do pulls from others', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  const third = await startNode(fabric, 3n, { base: 70 });
  await decoder.node.call('link', [clusterAt(3n, third.port)]);
  const fault = await fabric.inject({ op: 'pullBlocks', peer: 1n, times: 1, hang: true });
  const hung = expect(pull(decoder, prompt)).rejects.toThrow('LLM_FAILED');
  await inFlight(fabric, 1);
  await fabric.kill(1n);
  await fabric.restart(1n);
  const again = await startNode(fabric, 1n, { base: 33 });
  const { node } = again;
  await expect(node.call('link', [clusterAt(2n, decoder.port)], { timeout: 300 })).rejects.toThrow('LLM_TIMEOUT');
  const settled: string[] = [];
  const other = pull(decoder, third).then(() => settled.push('pull of the other'));
  await inFlight(fabric, 2);
  await expect(node.call('link', [clusterAt(2n, decoder.port)], { timeout: 300 })).rejects.toThrow('LLM_TIMEOUT');
  expect(settled).toEqual([]);
  await fault.remove();
  await hung;
  await other;
  expect(await firstBlock(decoder)).toEqual(originalBlock(70));
  await node.call('link', [clusterAt(2n, decoder.port)]);
  await pull(decoder, again);
  expect(await firstBlock(decoder)).toEqual(originalBlock(33));
});

test('a peer that unlinks waits for a pull that hangs', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  const fault = await fabric.inject({ op: 'pullBlocks', times: 1, hang: true });
  const hung = pull(decoder, prompt);
  await inFlight(fabric, 1);
  const unlink = prompt.node.call('unlink', [clusterAt(2n, decoder.port)], { timeout: 60_000 });
  await inFlight(fabric, 2);
  await fault.remove();
  await Promise.all([hung, unlink]);
  await expect(pull(decoder, prompt)).rejects.toThrow('LLM_NOT_YET_LINK');
});

test('a call that hangs is given up at hangTimeout on the clock of all', async () => {
  const { fabric, prompt, decoder } = await linkedNodes({}, { hangTimeout: 3000 });
  await fabric.inject({ op: 'unlinkClusters', times: 1, hang: true });
  const unlink = decoder.node.call('unlink', [clusterAt(1n, prompt.port)], { timeout: 1000 });
  const hung = expect(unlink).rejects.toThrow('LLM_TIMEOUT');
  await inFlight(fabric, 1);
  await fabric.clock.advance(3999);
  expect((await fabric.history).filter(({ state }) => state === 'in flight')).toHaveLength(1);
  await fabric.clock.advance(1);
  await hung;
});

test('the transfers of a peer with a node that is killed fail at once, and it can be made again elsewhere', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  await fabric.inject({ op: 'pullBlocks', times: 1, delayMs: 100 });
  const delayed = expect(pull(decoder, prompt)).rejects.toThrow('LLM_FAILED');
  await sleepers(fabric, 1);
  await decoder.node.call('control', 'kill', 1n);
  await delayed;
  await expect(pull(decoder, prompt)).rejects.toThrow('LLM_FAILED');
  await expect(startNode(fabric, 1n)).rejects.toThrow('LLM_FAILED');
  await expect(fabric.kill(9n)).rejects.toThrow(/a node of this fabric: cluster 1, cluster 2/);
  await expect(fabric.restart(2n)).rejects.toThrow(/a node that was killed: cluster 1/);
  await fabric.restart(1n);
  const again = await startNode(fabric, 1n, { base: 33 });
  await decoder.node.call('unlink', [clusterAt(1n, prompt.port)], { force: true });
  await decoder.node.call('link', [clusterAt(1n, again.port)]);
  await pull(decoder, again);
  expect(await firstBlock(decoder)).toEqual(originalBlock(33));
});

test.each(['pull', 'push'] as const)('a %s of some layers moves those, and fails', async (direction) => {
  const { fabric, prompt, decoder } = await linkedNodes();
  await fabric.inject({ op: ['pullBlocks', 'pushBlocks'], partialLayers: 1, status: 'LLM_TIMEOUT' });
  const [source, target] = direction === 'pull' ? [prompt, decoder] : [decoder, prompt];
  const before = await bytesOf(target);
  const call = direction === 'pull' ? decoder.node.call('pull', prompt.key, 0, ALL, ALL) : push(decoder, prompt);
  await expect(call).rejects.toThrow('LLM_TIMEOUT');
  const [moved, sent] = [await bytesOf(target), await bytesOf(source)];
  const half = moved.length / 2;
  expect([...moved.subarray(0, half)]).toEqual([...sent.subarray(0, half)]);
  expect([...moved.subarray(half)]).toEqual([...before.subarray(half)]);
});

test.each(['pull', 'push'] as const)('a corrupt %s succeeds, and as many bytes are others', async (direction) => {
  const { fabric, prompt, decoder } = await linkedNodes();
  await fabric.inject({ op: ['pullBlocks', 'pushBlocks'], times: 1, corrupt: 7 });
  const [source, target] = direction === 'pull' ? [prompt, decoder] : [decoder, prompt];
  const before = await bytesOf(source);
  const move = () =>
    direction === 'pull' ? decoder.node.call('pull', prompt.key, 0, ALL, ALL) : push(decoder, prompt);
  await move();
  expect(differences(await bytesOf(target), before)).toBe(7);
  expect(differences(await bytesOf(source), before)).toBe(0);
  await move();
  expect(differences(await bytesOf(target), before)).toBe(0);
  const moved = (await fabric.history).filter(({ op }) => op === 'pullBlocks' || op === 'pushBlocks');
  expect(moved.map(({ bytes }) => bytes)).toEqual([before.length, before.length]);
});

test('an error of the test is the very one in its process, and a copy in others', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  const error = Object.assign(new TypeError('a bug of the backend'), { code: 'ERR_BUG' });
  await fabric.inject({ op: 'pullBlocks', times: 1, throwError: error });
  await expect(pull(decoder, prompt)).rejects.toMatchObject({ cause: 'a bug of the backend' });
  const refusal = new LLMException(0x77, { operation: 'pullBlocks', message: 'no' });
  await fabric.inject({ op: 'pullBlocks', times: 1, throwError: refusal });
  await expect(pull(decoder, prompt)).rejects.toThrow(refusal.code);
  await fabric.inject({ op: 'init', throwError: error });
  const mine = fabric.backend(7n, 1);
  await expect(mine.initialize({})).rejects.toBe(error);
});

test('history, topology and what is left are those of all processes', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  await pull(decoder, prompt);
  const history = await fabric.history;
  expect(history.map(({ number }) => number)).toEqual(history.map((_, i) => i + 1));
  expect(history.find(({ op }) => op === 'pullBlocks')).toMatchObject({
    node: 2n,
    peer: 1n,
    state: 'succeeded',
    code: 'LLM_SUCCESS',
    args: { srcBlocks: [0], dstBlocks: [0] },
  });
  expect(history.filter(({ node, op }) => node === 1n && op === 'init')).toHaveLength(1);
  const { nodes } = await fabric.topology();
  expect(nodes).toMatchObject([
    { node: 1n, links: [{ peer: 2n, isUp: true, snapshot: 'none' }] },
    { node: 2n, links: [{ peer: 1n, isUp: true, snapshot: 'copied' }], caches: [{ cacheId: 1n, numTensors: 4 }] },
  ]);
  await expect(fabric.assertIdle()).rejects.toThrow(/cluster 1 [^]*linked: to cluster 2[^]*cluster 2 [^]*cache 1/);
});

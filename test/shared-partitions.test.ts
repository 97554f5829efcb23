import { DataType, LLMDataDist, LLMRole } from '../lib';
import { createFabric } from '../lib/testing';
import type { SharedFabric } from '../lib/testing';
import { rejection, track } from './fixtures/cluster';
import { firstBlock, linkedNodes, originalBlock, pull, rehearse, sleepers, startNode } from './fixtures/rehearsal';
import type { RehearsedPair } from './fixtures/rehearsal';
import { clusterAt, freePort } from './fixtures/tcp-node';

jest.setTimeout(120_000);

/** Whether a call ends with LLM_TIMEOUT after as much time of the rehearsal, and no sooner. */
async function timesOut(fabric: SharedFabric, call: Promise<unknown>, ms: number): Promise<void> {
  let isOver = false;
  const outcome = rejection(call).finally(() => (isOver = true));
  await sleepers(fabric, 1);
  await fabric.clock.advance(ms - 1);
  expect(isOver).toBe(false);
  await fabric.clock.advance(1);
  expect(await outcome).toMatchObject({ message: 'LLM_TIMEOUT' });
}

test('over a partitioned link transfers, links and unlinks time out on the clock, until it is healed', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  const peer = clusterAt(1n, prompt.port);
  await fabric.partition(1n, 2n);
  await timesOut(fabric, pull(decoder, prompt), 1000);
  await timesOut(fabric, decoder.node.call('unlink', [peer], { timeout: 700 }), 700);
  await timesOut(fabric, decoder.node.call('link', [peer], { timeout: 300 }), 300);
  const { nodes } = await fabric.topology();
  expect(nodes.flatMap(({ links }) => links.map(({ isUp }) => isUp))).toEqual([false, false]);
  await decoder.node.call('control', 'heal', 1n, 2n);
  await pull(decoder, prompt);
  expect(await firstBlock(decoder)).toEqual(originalBlock(10));
  await decoder.node.call('unlink', [peer]);
});

test('a partition leaves other pairs alone; an isolated node reaches only what it was healed with', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  const third = await startNode(fabric, 3n);
  await third.node.call('link', [clusterAt(1n, prompt.port), clusterAt(2n, decoder.port)]);
  await fabric.partition(1n, 2n);
  await pull(third, prompt);
  await fabric.heal(1n);
  await third.node.call('control', 'isolate', 1n);
  await timesOut(fabric, pull(third, prompt), 1000);
  await pull(third, decoder);
  await fabric.heal(1n, 3n);
  await pull(third, prompt);
  await third.node.call('unlink', [clusterAt(1n, prompt.port)]);
  await third.node.call('link', [clusterAt(1n, prompt.port)]);
  await timesOut(fabric, pull(decoder, prompt), 1000);
  await timesOut(fabric, prompt.node.call('link', [clusterAt(9n, await freePort())], { timeout: 50 }), 50);
  await fabric.heal();
  await pull(decoder, prompt);
  await expect(fabric.partition(1n, 1n)).rejects.toThrow(RangeError);
});

test('a partition holds for a process that joins during it', async () => {
  const fabric = await rehearse();
  const prompt = await startNode(fabric, 1n);
  await fabric.partition(1n, 2n);
  const decoder = await startNode(fabric, 2n);
  await timesOut(fabric, decoder.node.call('link', [clusterAt(1n, prompt.port)], { timeout: 300 }), 300);
});

test('a call that a delay holds back meets the partition that is there then', async () => {
  const { fabric, prompt, decoder } = (await linkedNodes()) satisfies RehearsedPair;
  await fabric.inject({ op: 'pullBlocks', times: 1, delayMs: 100 });
  const delayed = rejection(pull(decoder, prompt));
  await sleepers(fabric, 1);
  await fabric.partition(1n, 2n);
  await fabric.clock.advance(1100);
  expect(await delayed).toMatchObject({ message: 'LLM_TIMEOUT' });
  expect((await fabric.history).findLast(({ op }) => op === 'pullBlocks')).toMatchObject({
    durationMs: 1100,
    bytes: 0,
  });
});

const LARGE = { numTensors: 2, dataType: DataType.DT_INT8, shape: [64, 2 ** 20] };
const ALL = Array.from({ length: 64 }, (_, i) => i);

test.each(['pull', 'push'] as const)(
  'a %s that is under way is lost, and no more of its bytes are written',
  async (direction) => {
    const here = await rehearse();
    // Both in this process, so that the partition comes while the bytes are on their way.
    const there = await createFabric({ network: 'tcp', control: { connect: here.controlAddress } });
    const port = await freePort();
    const prompt = track(new LLMDataDist(LLMRole.MIX, 1n, { backend: there.backend }));
    await prompt.init({ deviceId: 1, listenIpInfo: `127.0.0.1:${port}` });
    const decoder = track(new LLMDataDist(LLMRole.MIX, 2n, { backend: here.backend }));
    await decoder.init({ deviceId: 2 });
    const theirs = await prompt.kvCacheManager.allocateCache(LARGE);
    const mine = await decoder.kvCacheManager.allocateCache(LARGE);
    const [source, target] = direction === 'pull' ? [theirs, mine] : [mine, theirs];
    for (const region of source.regions ?? []) await region.write(new Uint8Array(Number(region.byteLength)).fill(7));
    await decoder.linkClusters([clusterAt(1n, port)]);
    // Copies the table of caches.
    await decoder.kvCacheManager.pullBlocks(theirs.key(), mine, [63], [63]);

    const manager = decoder.kvCacheManager;
    const outcome = rejection(manager[`${direction}Blocks`](theirs.key(), mine, ALL, ALL));
    const arrived = async () => (await target.regions![0]!.read(0, 1))[0] === 7;
    while (!(await arrived())) await new Promise((resolve) => setImmediate(resolve));
    await here.partition(1n, 2n);
    const bytes = async () => Buffer.concat(await Promise.all((target.regions ?? []).map((region) => region.read())));
    const then = await bytes();
    expect(then.includes(0)).toBe(true);
    await here.heal();
    await here.clock.advance(999);
    expect((await here.topology()).nodes.map(({ calls }) => calls)).toEqual([1, 0]);
    await here.clock.advance(1);
    expect(await outcome).toMatchObject({ code: 'LLM_TIMEOUT' });
    expect((await bytes()).equals(then)).toBe(true);
    // The link is as good as before.
    await manager.pullBlocks(theirs.key(), mine, [0], [0]);
    await there.close();
  },
);

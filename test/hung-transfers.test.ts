import { turn } from './bad-input/states';
import { rejection } from './fixtures/cluster';
import { clusterOf } from './fixtures/fabric';
import { watch } from './fixtures/hangs';
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

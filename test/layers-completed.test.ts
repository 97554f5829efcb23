import { LLMDataDist, LLMException, LLMRole, LLMStatusCode } from '../lib';
import { DESC, rejection, track } from './fixtures/cluster';
import { clusterOf, linked, pass, sleepers } from './fixtures/fabric';
import type { Linked } from './fixtures/fabric';
import { rehearse } from './fixtures/rehearsal';
import { clusterAt, freePort } from './fixtures/tcp-node';

jest.setTimeout(60_000);

/** Four layers of two tensors. */
const LAYERS = { ...DESC, numTensors: 8 };

type Push = (net: Linked) => Promise<void>;

const PUSHES: [string, Push][] = [
  ['pushBlocks', (net) => net.decoder.kvCacheManager.pushBlocks(net.promptCache.key(), net.decoderCache, [0], [0])],
  ['pushCache', (net) => net.decoder.kvCacheManager.pushCache(net.promptCache.key(1), net.decoderCache, 1)],
];

describe.each(PUSHES)('a %s that fails', (name, push) => {
  const op = name as 'pushBlocks' | 'pushCache';

  test.each([0, 1, 3, 4])('says that %p layers are written', async (partialLayers) => {
    const net = await linked({}, {}, LAYERS);
    net.fabric.inject({ op, times: 1, partialLayers, status: 'LLM_TIMEOUT' });
    const error = await rejection(push(net));
    expect(error).toMatchObject({ code: 'LLM_TIMEOUT', layersCompleted: partialLayers });
    const json = (error as LLMException).toJSON();
    expect(json.layersCompleted).toBe(partialLayers);
    expect(LLMException.from(json).layersCompleted).toBe(partialLayers);
    expect(LLMException.from(structuredClone(error)).layersCompleted).toBe(partialLayers);
  });

  test('says 0 where the fault moves nothing, the link is gone, or a guard refuses', async () => {
    const net = await linked({}, {}, LAYERS);
    net.fabric.inject({ op, times: 1, status: 'LLM_TIMEOUT' });
    expect(await rejection(push(net))).toMatchObject({ layersCompleted: 0 });
    const { kvCacheManager: caches } = net.decoder;
    const refused = caches.pushBlocks(net.promptCache.key(), net.decoderCache, [9], [9]);
    expect(await rejection(refused)).toMatchObject({ code: 'LLM_PARAM_INVALID', layersCompleted: 0 });
    await net.decoder.unlinkClusters([clusterOf(1n)]);
    expect(await rejection(push(net))).toMatchObject({ code: 'LLM_NOT_YET_LINK', layersCompleted: 0 });
  });

  test('leaves the very error of a test alone', async () => {
    const net = await linked({}, {}, LAYERS);
    const throwError = new LLMException(LLMStatusCode.LLM_FAILED, { operation: 'mine' });
    net.fabric.inject({ op, times: 1, throwError });
    expect(await rejection(push(net))).toBe(throwError);
    expect('layersCompleted' in throwError).toBe(false);
  });

  test('counts what was written before its node died', async () => {
    const net = await linked({}, {}, LAYERS);
    net.fabric.inject({ op, times: 1, partialLayers: 2, delayMs: 20 });
    const pushed = rejection(push(net));
    await sleepers(net.fabric, 1);
    net.fabric.kill(net.prompt);
    expect(await pushed).toMatchObject({ code: 'LLM_FAILED', layersCompleted: 2 });
    await pass(net.fabric, 20);
  });
});

test('a pull that fails says nothing of layers', async () => {
  const { fabric, decoder, decoderCache, promptCache } = await linked();
  fabric.inject({ op: 'pullBlocks', partialLayers: 1, status: 'LLM_TIMEOUT' });
  const error = await rejection(decoder.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [0]));
  expect('layersCompleted' in (error as LLMException)).toBe(false);
});

/** A backend that, like the library, does not say what it has written. */
async function silent(init: object, status: number) {
  const net = await linked({}, {}, LAYERS, init);
  const { decoder, fabric } = net;
  const node = [...fabric.nodes].find(({ node: id }) => id === 2n)!;
  node.pushKvCache = () => Promise.reject(new LLMException(status, { operation: 'pushCache' }));
  return (options?: object) =>
    rejection(decoder.kvCacheManager.pushCache(net.promptCache.key(1), net.decoderCache, 1, options));
}

describe('over a backend that does not say what it has written', () => {
  const ONE = { srcLayerRange: [1, 1], dstLayerRange: [1, 1] };

  test('nothing is said of several layers, and 0 of one', async () => {
    const push = await silent({}, LLMStatusCode.LLM_TIMEOUT);
    expect('layersCompleted' in ((await push()) as LLMException)).toBe(false);
    expect(await push(ONE)).toMatchObject({ code: 'LLM_TIMEOUT', layersCompleted: 0 });
  });

  test('nothing is said of a link that a peer may have ended between two layers', async () => {
    const push = await silent({}, LLMStatusCode.LLM_NOT_YET_LINK);
    expect('layersCompleted' in ((await push()) as LLMException)).toBe(false);
  });
});

test('a push over TCP counts the layers that were confirmed', async () => {
  const fabric = await rehearse();
  const port = await freePort();
  const [one, two] = [1n, 2n].map((id) => track(new LLMDataDist(LLMRole.MIX, id, { backend: fabric.backend })));
  await one!.init({ deviceId: 1, listenIpInfo: `127.0.0.1:${port}` });
  await two!.init({ deviceId: 2 });
  const to = await one!.kvCacheManager.allocateCache(LAYERS);
  const from = await two!.kvCacheManager.allocateCache(LAYERS);
  await two!.linkClusters([clusterAt(1n, port)]);
  const push = () => rejection(two!.kvCacheManager.pushBlocks(to.key(), from, [0], [0]));
  await fabric.inject({ op: 'pushBlocks', times: 1, partialLayers: 3, status: 'LLM_TIMEOUT' });
  expect(await push()).toMatchObject({ code: 'LLM_TIMEOUT', layersCompleted: 3 });
  await two!.unlinkClusters([clusterAt(1n, port)]);
  expect(await push()).toMatchObject({ code: 'LLM_NOT_YET_LINK', layersCompleted: 0 });
});

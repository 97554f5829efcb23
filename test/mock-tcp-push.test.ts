import { DataType, LLMDataDist, LLMRole } from '../lib';
import { failed } from '../lib/backend/mock/refusal';
import { FrameKind } from '../lib/backend/mock/tcp/frame';
import { writeRefusal } from '../lib/backend/mock/tcp/messages';
import { createTcpFabric } from '../lib/testing';
import { bytesOf, fill, rejection, track } from './fixtures/cluster';
import { LAYERED, LAYERS, peerThat, WINDOW } from './fixtures/layered-peer';
import type { Layer } from './fixtures/layered-peer';
import { frame } from './fixtures/frames';
import { DESC, intruder, listening, transfer } from './fixtures/intruder';
import { clusterAt, freePort, TcpNode } from './fixtures/tcp-node';

jest.setTimeout(120_000);

const LONG = { timeout: 60_000 };
describe('a push of many layers', () => {
  test('sends layers before the first one is answered, and no more than a window of them', async () => {
    const held: Layer[] = [];
    let atFirstAnswer = 0;
    const { push } = await peerThat((layer, answer) => {
      held.push(layer);
      if (atFirstAnswer > 0) answer(frame(FrameKind.ANSWER, layer.id));
      if (held.length !== WINDOW) return;
      // What was sent beyond the window came together with this.
      setImmediate(() => {
        atFirstAnswer = held.length;
        for (const { id } of held) answer(frame(FrameKind.ANSWER, id));
      });
    });
    await push();
    expect(atFirstAnswer).toBe(WINDOW);
    expect(held).toHaveLength(LAYERS);
  });

  test('names the layer before in each layer, the first one none', async () => {
    const layers: Layer[] = [];
    const { push } = await peerThat((layer, answer) => {
      layers.push(layer);
      answer(frame(FrameKind.ANSWER, layer.id));
    });
    await push();
    expect(layers.map(({ tensor }) => tensor)).toEqual(Array.from({ length: LAYERS }, (_, i) => i));
    expect(layers.map(({ after }) => after)).toEqual([0, ...layers.slice(0, -1).map(({ id }) => id)]);
    await push();
    expect(layers[LAYERS]).toMatchObject({ after: 0, tensor: 0 });
  });

  test('fails with the first layer that failed, whatever those after it are answered', async () => {
    const { push } = await peerThat((layer, answer) => {
      if (layer.tensor < 3) answer(frame(FrameKind.ANSWER, layer.id));
      else answer(frame(FrameKind.REFUSAL, layer.id, writeRefusal(failed(`layer ${layer.tensor} is refused`))));
    });
    const error = (await rejection(push())) as Error;
    expect(error).toMatchObject({ code: 'LLM_FAILED' });
    expect(error.message).toContain('layer 3 is refused');
  });

  test('goes on after a push that failed', async () => {
    let refusals = 1;
    const { push } = await peerThat((layer, answer) => {
      const refused = layer.tensor === 3 && refusals-- > 0;
      answer(
        refused
          ? frame(FrameKind.REFUSAL, layer.id, writeRefusal(failed('not this time')))
          : frame(FrameKind.ANSWER, layer.id),
      );
    });
    expect(await rejection(push())).toMatchObject({ code: 'LLM_FAILED' });
    await push();
  });

  test('gives each layer its time from the end of the one before on', async () => {
    // All layers of a window together take longer than one may.
    let answered = Promise.resolve();
    const { push } = await peerThat((layer, answer) => {
      answered = answered.then(async () => {
        if (layer.tensor < 5) await new Promise((resolve) => setTimeout(resolve, 800));
        answer(frame(FrameKind.ANSWER, layer.id));
      });
    }, 2500);
    await push();
  });

  test('is given up when a layer is not answered, and so are those after it', async () => {
    const { push, cancelled } = await peerThat((layer, answer) => {
      if (layer.tensor < 2) answer(frame(FrameKind.ANSWER, layer.id));
    }, 500);
    expect(await rejection(push())).toMatchObject({ code: 'LLM_TIMEOUT' });
    while (cancelled.length < WINDOW) await new Promise((resolve) => setImmediate(resolve));
    expect(new Set(cancelled).size).toBe(WINDOW);
  });

  test('fails when the peer goes in the middle', async () => {
    const port = await freePort();
    const peer = TcpNode.inProcess();
    await peer.call('start', LLMRole.PROMPT, 1n, { deviceId: 0, listenIpInfo: `127.0.0.1:${port}` });
    const target = await peer.call('cache', LAYERED, 7);
    const dist = track(new LLMDataDist(LLMRole.DECODER, 2n, { backend: createTcpFabric().backend }));
    await dist.init({ deviceId: 1, syncKvTimeout: 60_000 });
    const cache = await dist.kvCacheManager.allocateCache(LAYERED);
    await dist.linkClusters([clusterAt(1n, port)], LONG);
    const pushes = async () => {
      for (;;) await dist.kvCacheManager.pushBlocks(target, cache, [0], [0], { tensorNumPerLayer: 1 });
    };
    const pushing = rejection(pushes());
    await dist.kvCacheManager.pullBlocks(target, cache, [1], [1]);
    await peer.kill();
    expect(await pushing).toMatchObject({ code: 'LLM_FAILED' });
  });
});

test('a pull that is made during a push on the same link sees what was pushed before it', async () => {
  const port = await freePort();
  const peer = TcpNode.inProcess();
  const large = { numTensors: 1, dataType: DataType.DT_INT8, shape: [2, 2 ** 22] };
  await peer.call('start', LLMRole.PROMPT, 1n, { deviceId: 0, listenIpInfo: `127.0.0.1:${port}` });
  const target = await peer.call('cache', large, 7);
  const dist = track(new LLMDataDist(LLMRole.DECODER, 2n, { backend: createTcpFabric().backend }));
  await dist.init({ deviceId: 1, syncKvTimeout: 60_000 });
  const cache = await dist.kvCacheManager.allocateCache(large);
  await dist.linkClusters([clusterAt(1n, port)], LONG);
  const [region] = cache.regions!;
  await region!.write(Buffer.concat([Buffer.alloc(2 ** 22, 0x55), Buffer.alloc(2 ** 22, 0x11)]));
  await dist.kvCacheManager.pullBlocks(target, cache, [1], [1]);
  const pushing = dist.kvCacheManager.pushBlocks(target, cache, [0], [0], { tensorNumPerLayer: 1 });
  await dist.kvCacheManager.pullBlocks(target, cache, [0], [1]);
  await pushing;
  const bytes = await region!.read();
  expect(Buffer.compare(Buffer.from(bytes.subarray(2 ** 22)), Buffer.alloc(2 ** 22, 0x55))).toBe(0);
});

describe('an instance that is pushed to', () => {
  const write = (id: number, more: object = {}) =>
    frame(FrameKind.WRITE, id, transfer([{ offset: 0, length: 10 }], { tensors: 1, ...more }));
  const bytes = (id: number, value: number) => frame(FrameKind.PUSHED, id, Buffer.alloc(10, value));

  test('writes nothing after a layer that failed, and what came before it', async () => {
    const { port, cache } = await listening();
    const expected = await bytesOf(cache);
    expected.fill(0xa1, 0, 10);
    const frames = await intruder(port);
    frames.socket.write(Buffer.concat([write(10), bytes(10, 0xa1)]));
    frames.socket.write(Buffer.concat([write(11, { after: 10, cacheId: 99n }), bytes(11, 0xa2)]));
    frames.socket.write(Buffer.concat([write(12, { after: 11, firstTensor: 1 }), bytes(12, 0xa3)]));
    frames.socket.write(Buffer.concat([write(13, { after: 12, firstTensor: 1 }), bytes(13, 0xa4)]));
    expect(await frames.next()).toMatchObject({ kind: FrameKind.ANSWER, id: 10 });
    for (const id of [11, 12, 13]) expect(await frames.next()).toMatchObject({ kind: FrameKind.REFUSAL, id });
    expect((await bytesOf(cache)).equals(expected)).toBe(true);
  });

  test('writes nothing after a layer that was given up', async () => {
    const { port, cache } = await listening();
    const expected = await bytesOf(cache);
    const frames = await intruder(port);
    frames.socket.write(Buffer.concat([write(10), frame(FrameKind.CANCEL, 10), bytes(10, 0xa1)]));
    frames.socket.write(Buffer.concat([write(11, { after: 10 }), bytes(11, 0xa2)]));
    for (const id of [10, 11]) expect(await frames.next()).toMatchObject({ kind: FrameKind.REFUSAL, id });
    expect((await bytesOf(cache)).equals(expected)).toBe(true);
  });

  test('writes no layer that comes too long after the one before', async () => {
    const { port, cache } = await listening();
    const expected = await bytesOf(cache);
    expected.fill(0xa1, 0, 10);
    const frames = await intruder(port);
    frames.socket.write(Buffer.concat([write(10), bytes(10, 0xa1)]));
    expect(await frames.next()).toMatchObject({ kind: FrameKind.ANSWER, id: 10 });
    await new Promise((resolve) => setTimeout(resolve, 20));
    frames.socket.write(Buffer.concat([write(11, { after: 10, waitMs: 5 }), bytes(11, 0xa2)]));
    expect(await frames.next()).toMatchObject({ kind: FrameKind.REFUSAL, id: 11 });
    expect((await bytesOf(cache)).equals(expected)).toBe(true);
  });

  test.each([
    ['follows one that was never sent', [write(10, { after: 5 })]],
    ['follows one whose bytes are still to come', [write(10), write(11, { after: 10 })]],
    ['has a time after nothing', [write(10, { waitMs: 5 })]],
  ])('ends the connection of a peer whose layer %s', async (_what, sent) => {
    const { port } = await listening();
    const frames = await intruder(port);
    frames.socket.write(Buffer.concat(sent));
    expect(await frames.next()).toBeUndefined();
  });

  test('has the layers of a cache as they were', async () => {
    const { port, cache } = await listening();
    const decoder = track(new LLMDataDist(LLMRole.DECODER, 2n, { backend: createTcpFabric().backend }));
    await decoder.init({ deviceId: 1, syncKvTimeout: 60_000 });
    const source = await decoder.kvCacheManager.allocateCache(DESC);
    await fill(source, 90);
    await decoder.linkClusters([clusterAt(1n, port)], LONG);
    await decoder.kvCacheManager.pushBlocks(cache.key(), source, [0, 1, 2, 3], [0, 1, 2, 3], { tensorNumPerLayer: 1 });
    expect((await bytesOf(cache)).equals(await bytesOf(source))).toBe(true);
  });
});

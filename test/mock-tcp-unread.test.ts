import type { Socket } from 'node:net';
import { DataType, LLMDataDist, LLMRole } from '../lib';
import { FrameKind } from '../lib/backend/mock/tcp/frame';
import { writeCacheId, writeIdentity, writeTable } from '../lib/backend/mock/tcp/messages';
import { CacheEntry } from '../lib/backend/mock/cache-table';
import type { Tensor } from '../lib/backend/mock/registered-memory';
import { createTcpFabric } from '../lib/testing';
import { bytesOf, fill, rejection, track } from './fixtures/cluster';
import { frame, Frames, identityOf } from './fixtures/frames';
import { DESC, intruder, LINK, hello, dial, listenAs, listening, TABLE, transfer } from './fixtures/intruder';
import { clusterAt, freePort, TcpNode } from './fixtures/tcp-node';

jest.setTimeout(180_000);

const LONG = { timeout: 60_000 };
const MIB = 2 ** 20;
/** More than sockets and a garbage collector's idleness take, and much less than what is asked for. */
const MAX_GROWTH = 160 * MIB;

const hasCache = (id: number) => frame(FrameKind.HAS_CACHE, id, writeCacheId(1n));

/** Writes `bytes` again and again until the other side ends the connection. */
async function flood(socket: Socket, bytes: Buffer): Promise<void> {
  let isClosed = false;
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      isClosed = true;
      resolve();
    });
  });
  while (!isClosed) {
    const drained = new Promise((resolve) => socket.once('drain', resolve));
    if (socket.write(bytes)) await new Promise((resolve) => setImmediate(resolve));
    else await Promise.race([drained, closed]);
    socket.removeAllListeners('drain');
  }
}

/** A prompt in its own process, with a cache whose tensors have 16 MiB, and a decoder that is linked to it. */
async function prompt() {
  const peer = TcpNode.inProcess();
  const port = await freePort();
  await peer.call(
    'start',
    LLMRole.PROMPT,
    1n,
    { deviceId: 0, listenIpInfo: `127.0.0.1:${port}` },
    { unreadTimeout: 1000 },
  );
  await peer.call('cache', { ...DESC, shape: [1, 16 * MIB] }, 7);
  const small = await peer.call('cache', DESC, 7);
  const decoder = track(new LLMDataDist(LLMRole.DECODER, 2n, { backend: createTcpFabric().backend }));
  await decoder.init({ deviceId: 1, syncKvTimeout: 60_000 });
  const cache = await decoder.kvCacheManager.allocateCache(DESC);
  await decoder.linkClusters([clusterAt(1n, port)], LONG);
  const pull = () => decoder.kvCacheManager.pullBlocks(small, cache, [0], [0]);
  await pull();
  return { peer, port, pull };
}

describe('a peer that does not read', () => {
  const large = Array.from({ length: 16 }, () => ({ offset: 0, length: 16 * MIB }));
  const tiny = Array.from({ length: 60_000 }, () => ({ offset: 0, length: 1 }));
  const many = (unit: Buffer) => Buffer.concat(Array.from({ length: Math.ceil(60_000 / unit.length) }, () => unit));
  test.each<[string, Buffer]>([
    ['small answers', many(hasCache(9))],
    ['tables', many(TABLE)],
    ['refusals', many(frame(FrameKind.READ, 9, transfer([], { cacheId: 99n })))],
    [
      'transfers that it gives up',
      many(Buffer.concat([frame(FrameKind.READ, 9, transfer(large)), frame(FrameKind.CANCEL, 9)])),
    ],
    [
      'transfers of the same byte again and again that it gives up',
      Buffer.concat([frame(FrameKind.READ, 9, transfer(tiny)), frame(FrameKind.CANCEL, 9)]),
    ],
  ])('its %s costs its connection, little memory, and others nothing', async (_what, requests) => {
    const { peer, port, pull } = await prompt();
    const before = await peer.call('memory');
    const frames = await intruder(port);
    frames.socket.pause();
    let pulls = 0;
    let isOver = false;
    const pulling = (async () => {
      for (; !isOver; pulls++) await pull();
    })();
    await flood(frames.socket, requests);
    isOver = true;
    await pulling;
    expect(pulls).toBeGreaterThan(20);
    expect((await peer.call('memory')) - before).toBeLessThan(MAX_GROWTH);
  });

  test('what it asked for costs little memory', async () => {
    const { peer, port, pull } = await prompt();
    const before = await peer.call('memory');
    const frames = await intruder(port);
    frames.socket.pause();
    // 2 GiB in all.
    for (let id = 10; id < 14; id++) frames.socket.write(frame(FrameKind.READ, id, transfer(large)));
    await pull();
    expect((await peer.call('memory')) - before).toBeLessThan(MAX_GROWTH);
  });

  test('is read from again when it reads', async () => {
    const { port } = await listening();
    const frames = await intruder(port);
    frames.socket.pause();
    frames.socket.removeAllListeners('data');
    const count = 400_000;
    const thousand = Buffer.concat(Array.from({ length: 1000 }, () => hasCache(100)));
    for (let sent = 0; sent < count; sent += 1000) frames.socket.write(thousand);
    await new Promise((resolve) => setImmediate(resolve));
    let missing = count * frame(FrameKind.ANSWER, 100, Buffer.of(1)).length;
    const received = new Promise<void>((resolve) => {
      frames.socket.on('data', (bytes: Buffer) => {
        missing -= bytes.length;
        if (missing === 0) resolve();
      });
    });
    frames.socket.resume();
    await received;
  });

  test('what is pushed to it loses its link', async () => {
    const tensors = [{}] as Tensor[];
    const table = writeTable(new Map([[1n, new CacheEntry(1n, tensors, 64 * MIB, 1)]]));
    const port = await listenAs((socket) => {
      const frames = new Frames(socket);
      const serve = async () => {
        for (let next = await frames.next(); next !== undefined; next = await frames.next()) {
          const { kind, id } = next;
          if (kind === FrameKind.HELLO) socket.write(frame(FrameKind.ANSWER, id, writeIdentity(identityOf(1n))));
          else if (kind === FrameKind.TABLE) socket.write(frame(FrameKind.ANSWER, id, table));
          else if (kind === FrameKind.WRITE) socket.pause();
          else if (kind !== FrameKind.PUSHED) socket.write(frame(FrameKind.ANSWER, id));
        }
      };
      void serve();
    });
    const { backend } = createTcpFabric({ unreadTimeout: 200 });
    const dist = track(new LLMDataDist(LLMRole.DECODER, 2n, { backend }));
    await dist.init({ deviceId: 1, syncKvTimeout: 60_000 });
    const desc = { numTensors: 1, dataType: DataType.DT_INT8, shape: [1, 64 * MIB] };
    const cache = await dist.kvCacheManager.allocateCache(desc);
    await dist.linkClusters([clusterAt(1n, port)], LONG);
    const push = () =>
      dist.kvCacheManager.pushBlocks({ clusterId: 1n, cacheId: 1n }, cache, [0], [0], { tensorNumPerLayer: 1 });
    for (let i = 0; i < 2; i++) expect(await rejection(push())).toMatchObject({ code: 'LLM_FAILED' });
  });
});

test('a stranger that repeats its requests loses its connection', async () => {
  const { port } = await listening();
  const [prepare] = LINK;
  const frames = await dial(port);
  frames.socket.write(Buffer.concat([hello(9n), prepare!, prepare!]));
  for (let i = 0; i < 2; i++) expect(await frames.next()).toMatchObject({ kind: FrameKind.ANSWER });
  expect(await frames.next()).toBeUndefined();
});

describe('a transfer of very many very small pieces', () => {
  const PIECES = 60_000;
  const extents = Array.from({ length: PIECES }, (_, i) => ({ offset: i % 4000, length: 1 }));

  test.each([
    ['is read', FrameKind.READ],
    ['is written', FrameKind.WRITE],
  ])('that %s leaves the event loop to others', async (_what, kind) => {
    const { port, cache } = await listening();
    const frames = await intruder(port);
    const healthy = await intruder(port, 10n);
    let turns = 0;
    let isOver = false;
    const count = () => {
      turns += 1;
      if (!isOver) setImmediate(count);
    };
    frames.socket.write(frame(kind, 10, transfer(extents)));
    if (kind === FrameKind.WRITE) frames.socket.write(frame(FrameKind.PUSHED, 10, Buffer.alloc(2 * PIECES, 0x77)));
    count();
    let answers = 0;
    const asking = (async () => {
      while (!isOver) {
        healthy.socket.write(hasCache(20));
        await healthy.next();
        answers += 1;
      }
    })();
    let received = 0;
    for (let next = await frames.next(); next?.kind !== FrameKind.ANSWER; next = await frames.next()) {
      expect(next?.kind).toBe(FrameKind.PULLED);
      received += next!.payload.length;
    }
    isOver = true;
    await asking;
    if (kind === FrameKind.READ) expect(received).toBe(2 * PIECES);
    else expect((await bytesOf(cache)).equals(Buffer.alloc(8000, 0x77))).toBe(true);
    // 8192 pieces a turn at most.
    expect(turns).toBeGreaterThan((2 * PIECES) / 8192);
    expect(answers).toBeGreaterThan(3);
  });
});

test('large transfers in all directions over one link do not wait for each other for ever', async () => {
  const desc = { numTensors: 2, dataType: DataType.DT_INT8, shape: [4, 4 * MIB] };
  const peer = TcpNode.inProcess();
  const port = await freePort();
  await peer.call('start', LLMRole.PROMPT, 1n, {
    deviceId: 0,
    listenIpInfo: `127.0.0.1:${port}`,
    syncKvTimeout: 60_000,
  });
  const theirs = await peer.call('cache', desc, 7);
  const dist = track(new LLMDataDist(LLMRole.DECODER, 2n, { backend: createTcpFabric().backend }));
  await dist.init({ deviceId: 1, syncKvTimeout: 60_000 });
  const cache = await dist.kvCacheManager.allocateCache(desc);
  await fill(cache, 90);
  await dist.linkClusters([clusterAt(1n, port)], LONG);
  const mine = { clusterId: 2n, cacheId: cache.cacheId };
  for (let i = 0; i < 5; i++) {
    await Promise.all([
      peer.call('pull', mine, 0, [0], [1]),
      dist.kvCacheManager.pullBlocks(theirs, cache, [2], [3]),
      dist.kvCacheManager.pushBlocks(theirs, cache, [0], [0]),
    ]);
  }
  const bytes = Buffer.from(await peer.call('bytes', 0));
  for (const row of [0, 1])
    expect(
      Buffer.compare(bytes.subarray(row * 4 * MIB, (row + 1) * 4 * MIB), (await bytesOf(cache)).subarray(0, 4 * MIB)),
    ).toBe(0);
});

import type { Socket } from 'node:net';
import { connect } from 'node:net';
import { LLMDataDist, LLMRole } from '../lib';
import { FrameKind, HEADER_BYTES, MAX_PAYLOAD, writeHeader } from '../lib/backend/mock/tcp/frame';
import { writeCacheId, writeFlag, writeIdentity, writeRefusal, writeTable } from '../lib/backend/mock/tcp/messages';
import { hostMilliseconds } from '../lib/backend/mock/tcp/time-limit';
import { CacheEntry } from '../lib/backend/mock/cache-table';
import { failed } from '../lib/backend/mock/refusal';
import type { Tensor } from '../lib/backend/mock/registered-memory';
import { createTcpFabric } from '../lib/testing';
import { bytesOf, fill, rejection, track } from './fixtures/cluster';
import { frame, Frames, identityOf } from './fixtures/frames';
import { DESC, dial, hello, intruder, LINK, listenAs, listening, TABLE, transfer } from './fixtures/intruder';
import { seeded } from './fixtures/seeded';
import { clusterAt, freePort, TcpNode } from './fixtures/tcp-node';

/** How many hostile frames are sent: some in every run, a million where there is time for them. */
const FRAMES = Number(process.env.DATADIST_TEST_FRAMES ?? 20_000);
const SEED = Number(process.env.DATADIST_TEST_SEED ?? Date.now() % 1_000_000);

jest.setTimeout(60_000 + FRAMES * 3);

const LONG = { timeout: 60_000 };
const MAX_GROWTH = 256 * 2 ** 20;

const HELLO = hello(9n);

describe('a stranger who is linked', () => {
  test.each([
    ['bytes behind a tensor', [{ offset: 3999, length: 2 }], {}],
    ['bytes far behind a tensor', [{ offset: 2 ** 47, length: 1 }], {}],
    ['more tensors than there are', [{ offset: 0, length: 1 }], { tensors: 3 }],
    ['tensors beyond the last one', [{ offset: 0, length: 1 }], { firstTensor: 0xffff_ffff }],
    ['a cache that there is not', [{ offset: 0, length: 1 }], { cacheId: 2n }],
  ])('is refused %s, and goes on', async (_what, extents, more) => {
    const { port, cache } = await listening();
    const before = await bytesOf(cache);
    const frames = await intruder(port);
    for (const [i, kind] of [FrameKind.READ, FrameKind.WRITE].entries()) {
      frames.socket.write(frame(kind, 10 + i, transfer(extents, more)));
      expect(await frames.next()).toMatchObject({ kind: FrameKind.REFUSAL, id: 10 + i });
    }
    // Bytes of what was refused go nowhere.
    frames.socket.write(frame(FrameKind.PUSHED, 11, Buffer.alloc(10, 0xee)));
    frames.socket.write(frame(FrameKind.HAS_CACHE, 20, writeCacheId(1n)));
    expect(await frames.next()).toMatchObject({ kind: FrameKind.ANSWER, id: 20 });
    expect((await bytesOf(cache)).equals(before)).toBe(true);
  });

  test('neither reads nor writes a cache that was unregistered since', async () => {
    // With guards memory stays registered as long as peers may use it.
    const { port, dist, cache } = await listening({}, false);
    const frames = await intruder(port);
    await dist.kvCacheManager.unregisterCache(cache);
    frames.socket.write(frame(FrameKind.READ, 10, transfer([{ offset: 0, length: 10 }])));
    expect(await frames.next()).toMatchObject({ kind: FrameKind.REFUSAL, id: 10 });
  });

  test('cannot write more than he announced, nor after his time', async () => {
    const { port, cache } = await listening();
    const before = await bytesOf(cache);
    const frames = await intruder(port);
    const late = { deadline: hostMilliseconds() - 1 };
    frames.socket.write(frame(FrameKind.WRITE, 10, transfer([{ offset: 0, length: 10 }], late)));
    frames.socket.write(frame(FrameKind.PUSHED, 10, Buffer.alloc(20, 0xee)));
    expect(await frames.next()).toMatchObject({ kind: FrameKind.REFUSAL, id: 10 });
    frames.socket.write(frame(FrameKind.WRITE, 11, transfer([{ offset: 0, length: 10 }])));
    frames.socket.write(frame(FrameKind.PUSHED, 11, Buffer.alloc(21, 0xee)));
    expect(await frames.next()).toBeUndefined();
    expect((await bytesOf(cache)).equals(before)).toBe(true);
  });

  test('gets no more than a few transfers at a time', async () => {
    const { port } = await listening();
    const frames = await intruder(port);
    for (let id = 10; id < 16; id++)
      frames.socket.write(frame(FrameKind.WRITE, id, transfer([{ offset: 0, length: 9 }])));
    expect(await frames.next()).toBeUndefined();
  });
});

describe('a stranger', () => {
  const header = (changes: (bytes: Buffer) => void) => {
    const bytes = Buffer.from(HELLO);
    changes(bytes);
    return bytes;
  };
  test.each([
    ['another protocol', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
    ['an unknown kind', header((bytes) => bytes.writeUInt8(99, 3))],
    ['a frame that is too long', header((bytes) => bytes.writeUInt32BE(MAX_PAYLOAD + 1, 8))],
    ['a payload that is cut short', frame(FrameKind.HELLO, 1, HELLO.subarray(HEADER_BYTES, -1))],
    [
      'more than the payload',
      frame(FrameKind.HELLO, 1, Buffer.concat([HELLO.subarray(HEADER_BYTES), Buffer.alloc(1)])),
    ],
    ['something else first', frame(FrameKind.PREPARE, 1, writeFlag(true))],
    ['bytes first', frame(FrameKind.PUSHED, 1, Buffer.alloc(9))],
    ['an answer that nobody asked for', frame(FrameKind.ANSWER, 1)],
    ['a link without preparation', Buffer.concat([HELLO, frame(FrameKind.COMMIT, 2)])],
    ['a second greeting', Buffer.concat([HELLO, HELLO])],
    ['a flag that is none', Buffer.concat([HELLO, frame(FrameKind.PREPARE, 2, Buffer.of(2))])],
    ['one unlink after the other', Buffer.concat([HELLO, ...[2, 3].map((id) => frame(FrameKind.UNLINK, id))])],
    [
      'a transfer twice',
      Buffer.concat([
        HELLO,
        ...LINK,
        TABLE,
        ...[1, 2].map(() => frame(FrameKind.WRITE, 9, transfer([{ offset: 0, length: 1 }]))),
      ]),
    ],
    [
      'a list that is longer than its frame',
      Buffer.concat([
        HELLO,
        ...LINK,
        TABLE,
        frame(FrameKind.READ, 9, Buffer.concat([transfer([]).subarray(0, -4), Buffer.alloc(4, 0xff)])),
      ]),
    ],
  ])('who sends %s loses his connection, and nobody else does', async (_what, bytes) => {
    const { port } = await listening();
    const other = await intruder(port, 10n);
    const frames = await dial(port);
    frames.socket.write(bytes);
    for (let seen = 0; (await frames.next()) !== undefined; seen++) expect(seen).toBeLessThan(6);
    other.socket.write(frame(FrameKind.HAS_CACHE, 20, writeCacheId(1n)));
    expect(await other.next()).toMatchObject({ kind: FrameKind.ANSWER, id: 20 });
  });

  test('who says nothing is not waited for', async () => {
    const { port } = await listening({ handshakeTimeout: 50 });
    expect(await (await dial(port)).next()).toBeUndefined();
  });

  test('who does not finish what he began is not waited for', async () => {
    const { port } = await listening({ frameTimeout: 50 });
    const frames = await intruder(port);
    frames.socket.write(writeHeader(FrameKind.READ, 9, 100));
    expect(await frames.next()).toBeUndefined();
  });

  test('gets a whole answer to frames that come byte by byte', async () => {
    const { port } = await listening();
    const frames = await dial(port);
    frames.socket.setNoDelay(true);
    for (const byte of HELLO) frames.socket.write(Buffer.of(byte));
    expect(await frames.next()).toMatchObject({ kind: FrameKind.ANSWER, id: 1 });
  });
});

describe('a peer that is linked to and', () => {
  /** What it does with each request after the link. */
  type Behaviour = (kind: FrameKind, id: number, socket: Socket) => void;
  const tensors = Array.from({ length: 2 }, () => ({})) as Tensor[];
  const table = writeTable(new Map([[1n, new CacheEntry(1n, tensors, 4000, 4)]]));

  async function linkedTo(behave: Behaviour, syncKvTimeout = 60_000) {
    let end: Socket | undefined;
    const port = await listenAs((socket) => {
      end = socket;
      const frames = new Frames(socket);
      const serve = async () => {
        for (let next = await frames.next(); next !== undefined; next = await frames.next()) {
          const { kind, id } = next;
          if (kind === FrameKind.HELLO) socket.write(frame(FrameKind.ANSWER, id, writeIdentity(identityOf(1n))));
          else if (kind === FrameKind.PREPARE || kind === FrameKind.COMMIT) socket.write(frame(FrameKind.ANSWER, id));
          else if (kind === FrameKind.TABLE) socket.write(frame(FrameKind.ANSWER, id, table));
          else behave(kind, id, socket);
        }
      };
      void serve();
    });
    const dist = track(new LLMDataDist(LLMRole.DECODER, 2n, { backend: createTcpFabric().backend }));
    await dist.init({ deviceId: 1, syncKvTimeout });
    const cache = await dist.kvCacheManager.allocateCache(DESC);
    await fill(cache, 90);
    await dist.linkClusters([clusterAt(1n, port)], LONG);
    const source = { clusterId: 1n, cacheId: 1n };
    return { dist, cache, source, port, socket: () => end! };
  }

  test('answers a pull too late does not change what was pulled then', async () => {
    let first = 0;
    const { dist, cache, source, socket } = await linkedTo((kind, id, to) => {
      if (kind === FrameKind.READ && first === 0) first = id;
      else if (kind === FrameKind.READ) {
        to.write(frame(FrameKind.PULLED, first, Buffer.alloc(2000, 0xee)));
        to.write(frame(FrameKind.ANSWER, first));
        to.write(frame(FrameKind.PULLED, id, Buffer.alloc(2000, 0x11)));
        to.write(frame(FrameKind.ANSWER, id));
      }
    }, 1000);
    const before = await bytesOf(cache);
    const given = await rejection(dist.kvCacheManager.pullBlocks(source, cache, [0], [0]));
    expect(given).toMatchObject({ code: 'LLM_TIMEOUT' });
    await dist.kvCacheManager.pullBlocks(source, cache, [1], [1]);
    for (const tensor of [0, 4000]) before.fill(0x11, tensor + 1000, tensor + 2000);
    expect((await bytesOf(cache)).equals(before)).toBe(true);
    expect(socket().destroyed).toBe(false);
  });

  test.each<[string, Behaviour]>([
    ['sends more than was asked for', (_kind, id, to) => to.write(frame(FrameKind.PULLED, id, Buffer.alloc(2001)))],
    ['sends less than was asked for', (_kind, id, to) => to.write(frame(FrameKind.ANSWER, id))],
    ['answers with a payload that is none', (_kind, id, to) => to.write(frame(FrameKind.ANSWER, id, Buffer.alloc(1)))],
    ['answers what was never asked', (_kind, id, to) => to.write(frame(FrameKind.ANSWER, id + 1))],
    ['refuses with success', (_kind, id, to) => to.write(frame(FrameKind.REFUSAL, id, Buffer.alloc(8)))],
    ['closes the connection', (_kind, _id, to) => to.destroy()],
  ])('%s fails the pull and loses the link', async (_what, behave) => {
    const { dist, cache, source } = await linkedTo(behave);
    for (let i = 0; i < 2; i++) {
      const error = await rejection(dist.kvCacheManager.pullBlocks(source, cache, [0], [0]));
      expect(error).toMatchObject({ code: 'LLM_FAILED' });
    }
  });

  test('refuses a transfer passes on its status and its words', async () => {
    const { dist, cache, source } = await linkedTo((_kind, id, to) =>
      to.write(frame(FrameKind.REFUSAL, id, writeRefusal(failed('because I say so')))),
    );
    const error = (await rejection(dist.kvCacheManager.pullBlocks(source, cache, [0], [0]))) as Error;
    expect(error).toMatchObject({ code: 'LLM_FAILED' });
    expect(error.message).toContain('because I say so');
  });
});

/** Bytes that may be frames: valid ones, with bytes changed, cut, repeated or made up. */
function hostile(next: () => number): Buffer {
  const below = (limit: number) => Math.floor(next() * limit);
  const extents = Array.from({ length: below(4) }, () => ({ offset: below(5000), length: below(5000) }));
  const valid = [
    () => HELLO,
    () => frame(FrameKind.PREPARE, below(9), writeFlag(next() < 0.5)),
    () => frame(FrameKind.COMMIT, below(9)),
    () => TABLE,
    () => frame(FrameKind.HAS_CACHE, below(9), writeCacheId(BigInt(below(4)))),
    () => frame(FrameKind.READ, below(99), transfer(extents)),
    () => frame(FrameKind.WRITE, below(99), transfer(extents)),
    () => frame(FrameKind.PUSHED, below(99), Buffer.alloc(below(6000))),
    () => frame(FrameKind.CANCEL, below(99)),
    () => frame(FrameKind.UNLINK, below(99)),
    () => frame(FrameKind.RELEASE, 0),
    () => frame(FrameKind.ANSWER, below(99)),
  ];
  const bytes = Buffer.from(valid[below(valid.length)]!());
  const way = below(10);
  if (way === 0) return Buffer.from(Uint8Array.from({ length: 1 + below(100) }, () => below(256)));
  if (way === 1) return bytes.subarray(0, 1 + below(bytes.length));
  // Others stay as they are, out of order, so that what follows them gets further.
  for (let changes = way < 6 ? 1 + below(3) : 0; changes > 0; changes--) bytes[below(bytes.length)] = below(256);
  return bytes;
}

test(`a node that ${FRAMES} hostile frames are sent to serves its other peers (DATADIST_TEST_SEED=${SEED})`, async () => {
  const next = seeded(SEED);
  const peer = TcpNode.inProcess();
  const port = await freePort();
  await peer.call('start', LLMRole.PROMPT, 1n, { deviceId: 0, listenIpInfo: `127.0.0.1:${port}` });
  const source = await peer.call('cache', DESC, 7);
  const decoder = track(new LLMDataDist(LLMRole.DECODER, 2n, { backend: createTcpFabric().backend }));
  await decoder.init({ deviceId: 1, syncKvTimeout: 60_000 });
  const cache = await decoder.kvCacheManager.allocateCache(DESC);
  await decoder.linkClusters([clusterAt(1n, port)], LONG);
  const pull = () => decoder.kvCacheManager.pullBlocks(source, cache, [0, 1, 2, 3], [0, 1, 2, 3]);
  await pull();
  const memory = await peer.call('memory');

  for (let sent = 0; sent < FRAMES;) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.resume();
    const closed = new Promise((resolve) => socket.once('close', resolve));
    const frames = Array.from({ length: 1 + Math.floor(next() * 60) }, () => hostile(next));
    // Half of them get as far as a link.
    if (next() < 0.5) frames.unshift(HELLO, ...LINK, TABLE);
    sent += frames.length;
    socket.end(Buffer.concat(frames));
    await closed;
    if (next() < 0.05) await pull();
  }
  await pull();
  expect((await peer.call('memory')) - memory).toBeLessThan(MAX_GROWTH);
  // Whoever is linked may write; what is registered now nobody else knows of.
  const fresh = await peer.call('cache', DESC, 11);
  await decoder.unlinkClusters([clusterAt(1n, port)], LONG);
  await decoder.linkClusters([clusterAt(1n, port)], LONG);
  await decoder.kvCacheManager.pullBlocks(fresh, cache, [0, 1, 2, 3], [0, 1, 2, 3]);
  const expected = Buffer.from(await peer.call('bytes', 1));
  expect((await bytesOf(cache)).equals(expected)).toBe(true);
});

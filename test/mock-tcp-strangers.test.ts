import { once } from 'node:events';
import { connect } from 'node:net';
import { LLMDataDist, LLMRole } from '../lib';
import type { LLMException } from '../lib';
import { FrameKind, HEADER_BYTES, writeHeader } from '../lib/backend/mock/tcp/frame';
import { readFlag, readRefusal, writeFlag, writeIdentity, writeToken } from '../lib/backend/mock/tcp/messages';
import { createTcpFabric } from '../lib/testing';
import type { TcpFabricOptions } from '../lib/testing';
import { rejection, track } from './fixtures/cluster';
import { frame, Frames, identityOf } from './fixtures/frames';
import { DESC, dial, hello, intruder, LINK, listenAs, listening } from './fixtures/intruder';
import { clusterAt, freePort, TcpNode } from './fixtures/tcp-node';

jest.setTimeout(120_000);

const LONG = { timeout: 60_000 };
const fabric = createTcpFabric();

async function decoderAt(port: number, clusterId = 2n) {
  const dist = track(new LLMDataDist(LLMRole.DECODER, clusterId, { backend: fabric.backend }));
  await dist.init({ deviceId: Number(clusterId), syncKvTimeout: 60_000 });
  const cache = await dist.kvCacheManager.allocateCache(DESC);
  const link = () => dist.linkClusters([clusterAt(1n, port)], LONG);
  const unlink = (force = false) => dist.unlinkClusters([clusterAt(1n, port)], { ...LONG, force });
  return { dist, cache, link, unlink };
}

/** A prompt and a decoder, cluster 2, that is linked to it; `push` uses the prompt's side of the link. */
async function linked(options: TcpFabricOptions = {}) {
  const { port, dist: prompt, cache: source } = await listening(options);
  const decoder = await decoderAt(port);
  await decoder.link();
  const push = () => prompt.kvCacheManager.pushBlocks(decoder.cache.key(), source, [0], [0]);
  const pull = () => decoder.dist.kvCacheManager.pullBlocks(source.key(), decoder.cache, [0], [0]);
  await push();
  return { port, decoder, push, pull };
}

describe('a stranger that says it is a linked cluster', () => {
  test('does not displace the link', async () => {
    const { port, push, pull } = await linked();
    const frames = await dial(port);
    frames.socket.write(Buffer.concat([hello(2n), frame(FrameKind.PREPARE, 2, writeFlag(true))]));
    expect(await frames.next()).toMatchObject({ kind: FrameKind.ANSWER, id: 1 });
    const refused = await frames.next();
    expect(refused).toMatchObject({ kind: FrameKind.REFUSAL, id: 2 });
    expect(readRefusal(refused!.payload).detail).toContain('another instance that is cluster 2');
    await push();
    await pull();
  });

  test('does not unlink it', async () => {
    const { port, push, pull } = await linked();
    const frames = await dial(port);
    frames.socket.write(Buffer.concat([hello(2n), frame(FrameKind.UNLINK, 2)]));
    expect(await frames.next()).toMatchObject({ kind: FrameKind.ANSWER, id: 1 });
    expect(await frames.next()).toMatchObject({ kind: FrameKind.REFUSAL, id: 2 });
    await push();
    await pull();
  });

  test('does not displace it with a link that it prepared before', async () => {
    const { port, dist: prompt, cache: source } = await listening();
    const frames = await dial(port);
    const [prepare, commit] = LINK;
    frames.socket.write(Buffer.concat([hello(2n), prepare!]));
    for (let i = 0; i < 2; i++) expect(await frames.next()).toMatchObject({ kind: FrameKind.ANSWER });
    const { cache, link } = await decoderAt(port);
    await link();
    frames.socket.write(commit!);
    expect(await frames.next()).toMatchObject({ kind: FrameKind.REFUSAL, id: 3 });
    await prompt.kvCacheManager.pushBlocks(cache.key(), source, [0], [0]);
  });

  test('is told that it is linked already when it does not force', async () => {
    const { port, push } = await linked();
    const frames = await dial(port);
    frames.socket.write(Buffer.concat([hello(2n), frame(FrameKind.PREPARE, 2, writeFlag(false))]));
    expect(await frames.next()).toMatchObject({ kind: FrameKind.ANSWER, id: 1 });
    const refused = await frames.next();
    expect(readRefusal(refused!.payload).detail).toContain('is linked to cluster 2');
    await push();
  });

  test('loses its connection when it goes on before it is answered', async () => {
    const { port, push } = await linked();
    const frames = await dial(port);
    frames.socket.write(Buffer.concat([hello(2n), ...LINK]));
    expect(await frames.next()).toMatchObject({ kind: FrameKind.ANSWER, id: 1 });
    expect(await frames.next()).toBeUndefined();
    await push();
  });

  test('does not displace the link of a peer that is stopped', async () => {
    const { port, dist: prompt, cache: source } = await listening({ handshakeTimeout: 300 });
    const peer = TcpNode.inProcess();
    await peer.call('start', LLMRole.DECODER, 2n, { deviceId: 1, syncKvTimeout: 60_000 });
    const key = await peer.call('cache', DESC, 90);
    await peer.call('link', [clusterAt(1n, port)], LONG);
    peer.signal('SIGSTOP');
    const frames = await dial(port);
    frames.socket.write(hello(2n));
    expect(await frames.next()).toMatchObject({ kind: FrameKind.ANSWER, id: 1 });
    frames.socket.write(frame(FrameKind.PREPARE, 2, writeFlag(true)));
    // It has no more time to link than any other one.
    expect([FrameKind.REFUSAL, undefined]).toContain((await frames.next())?.kind);
    peer.signal('SIGCONT');
    await prompt.kvCacheManager.pushBlocks(key, source, [0], [0]);
  });
});

test('the instance that dropped its side of a link makes it anew, and unlinks it', async () => {
  const { decoder, push, pull } = await linked();
  await decoder.unlink(true);
  await push();
  await decoder.link();
  await push();
  await pull();
  await decoder.unlink(true);
  await decoder.unlink();
  expect(await rejection(push())).toMatchObject({ code: 'LLM_NOT_YET_LINK' });
});

test('a second instance of an id is refused while the first one is linked, and takes its place when that is gone', async () => {
  const { port, decoder, push, pull } = await linked();
  const second = await decoderAt(port);
  const error = (await rejection(second.link())) as LLMException;
  expect(error).toMatchObject({ code: 'LLM_FAILED' });
  expect(error.message).toContain('another instance that is cluster 2');
  expect(await rejection(second.unlink())).toMatchObject({ code: 'LLM_FAILED' });
  await push();
  await pull();
  await decoder.dist.finalize();
  await second.link();
  await push();
});

/** What a listener says that lies about which cluster it is. */
function lying(clusterId: bigint, before: (frame: { kind: FrameKind }) => Promise<void> = () => Promise.resolve()) {
  return listenAs((socket) => {
    const frames = new Frames(socket);
    const serve = async () => {
      for (let next = await frames.next(); next !== undefined; next = await frames.next()) {
        const { kind, id } = next;
        await before(next);
        const answer = kind === FrameKind.HELLO ? writeIdentity(identityOf(clusterId)) : undefined;
        socket.write(frame(FrameKind.ANSWER, id, answer));
      }
    };
    void serve();
  });
}

test('a listener that says it is a linked cluster does not displace the link', async () => {
  const { decoder, push, pull } = await linked();
  const liar = await lying(1n);
  const error = (await rejection(decoder.dist.linkClusters([clusterAt(5n, liar)], LONG))) as LLMException;
  expect(error).toMatchObject({ code: 'LLM_FAILED' });
  expect(error.message).toContain('another instance that is cluster 1');
  await push();
  await pull();
});

test('a listener that says so after its PREPARE was answered does not displace the link that was made meanwhile', async () => {
  const { port, dist, cache } = await listening();
  const peer = TcpNode.inProcess();
  await peer.call('start', LLMRole.DECODER, 2n, { deviceId: 1, syncKvTimeout: 60_000 });
  const key = await peer.call('cache', DESC, 90);
  // The true cluster 2 links before the listener answers the COMMIT.
  const liar = await lying(2n, async ({ kind }) => {
    if (kind === FrameKind.COMMIT) await peer.call('link', [clusterAt(1n, port)], LONG);
  });
  const error = (await rejection(dist.linkClusters([clusterAt(5n, liar)], LONG))) as LLMException;
  expect(error.message).toContain('another instance that is cluster 2');
  await dist.kvCacheManager.pullBlocks(key, cache, [0], [0]);
});

test('an instance vouches for its own connections only, and to no peer for those to another one', async () => {
  const { port } = await listening();
  const frames = await intruder(port);
  const other = await intruder(port, 10n);
  frames.socket.write(frame(FrameKind.VOUCH, 20, writeToken('made up')));
  expect(readFlag((await frames.next())!.payload)).toBe(false);
  // What the instance said to another peer is of no use to this one.
  const third = await dial(port);
  third.socket.write(hello(11n));
  const greeting = (await third.next())!.payload;
  const token = greeting.subarray(-22).toString();
  frames.socket.write(frame(FrameKind.VOUCH, 21, writeToken(token)));
  expect(readFlag((await frames.next())!.payload)).toBe(false);
  other.socket.write(frame(FrameKind.VOUCH, 22, writeToken(token)));
  expect(readFlag((await other.next())!.payload)).toBe(false);
});

test.each([1, 3])(
  'a peer of version %i of the protocol is refused in its version, with the reason',
  async (version) => {
    const { port } = await listening();
    const socket = connect(port, '127.0.0.1');
    const pieces: Buffer[] = [];
    socket.on('data', (piece) => pieces.push(piece));
    socket.write(Buffer.concat([writeHeader(FrameKind.HELLO, 7, 3, version), Buffer.from('abc')]));
    await once(socket, 'close');
    const answer = Buffer.concat(pieces);
    expect(answer.subarray(2, 4)).toEqual(Buffer.of(version, FrameKind.REFUSAL));
    expect(answer.readUInt32BE(4)).toBe(7);
    expect(readRefusal(answer.subarray(HEADER_BYTES)).detail).toContain(`this side version ${version}`);
  },
);

test('a refusal of the greeting is passed on with its reason', async () => {
  const reason = 'use one version of llm-datadist in all processes';
  const port = await listenAs((socket) => {
    const frames = new Frames(socket);
    const serve = async () => {
      const { id } = (await frames.next())!;
      const detail = Buffer.from(reason);
      const payload = Buffer.alloc(8);
      payload.writeUInt32BE(0x5010_b00f, 0);
      payload.writeUInt32BE(detail.length, 4);
      socket.end(frame(FrameKind.REFUSAL, id, Buffer.concat([payload, detail])));
    };
    void serve();
  });
  const { link } = await decoderAt(port);
  expect(((await rejection(link())) as Error).message).toContain(reason);
});

test('two instances that link to each other at the same time end with one link on each side', async () => {
  const ports = [await freePort(), await freePort()] as const;
  const nodes = [1n, 2n].map((id) => track(new LLMDataDist(LLMRole.MIX, id, { backend: fabric.backend })));
  const [first, second] = nodes as [LLMDataDist, LLMDataDist];
  await first.init({ deviceId: 1, listenIpInfo: `127.0.0.1:${ports[0]}`, syncKvTimeout: 60_000 });
  await second.init({ deviceId: 2, listenIpInfo: `127.0.0.1:${ports[1]}`, syncKvTimeout: 60_000 });
  const [mine, theirs] = [
    await first.kvCacheManager.allocateCache(DESC),
    await second.kvCacheManager.allocateCache(DESC),
  ];
  await Promise.all([
    first.linkClusters([clusterAt(2n, ports[1])], LONG),
    second.linkClusters([clusterAt(1n, ports[0])], LONG),
  ]);
  await first.kvCacheManager.pullBlocks(theirs.key(), mine, [0], [0]);
  await second.kvCacheManager.pullBlocks(mine.key(), theirs, [1], [1]);
});

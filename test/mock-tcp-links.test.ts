import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer } from 'node:net';
import { DataType, LLMDataDist, LLMRole } from '../lib';
import type { KvCache } from '../lib';
import { createTcpFabric } from '../lib/testing';
import { bytesOf, fill, rejection, track } from './fixtures/cluster';
import { clusterAt, freePort, TcpNode } from './fixtures/tcp-node';

/** Processes are started here, on machines that have other things to do. */
jest.setTimeout(120_000);

const DESC = { numTensors: 2, dataType: DataType.DT_INT8, shape: [4, 1000] };
/** 16 MiB: more than sockets hold. */
const LARGE = { numTensors: 2, dataType: DataType.DT_INT8, shape: [8, 2 ** 20] };
const ALL_BLOCKS = [0, 1, 2, 3, 4, 5, 6, 7];

/** Patient enough for a machine with much to do. */
const PATIENT = { deviceId: 1, syncKvTimeout: 60_000 };
const LONG = { timeout: 60_000 };

const fabric = createTcpFabric();

function instance(clusterId: bigint): LLMDataDist {
  return track(new LLMDataDist(LLMRole.MIX, clusterId, { backend: fabric.backend }));
}

/** What `cache` of `tcp-node-program.js` writes. */
function pattern(desc: typeof DESC, base: number): Buffer {
  const [rows = 0, row = 0] = desc.shape;
  return Buffer.concat(
    Array.from({ length: desc.numTensors }, (_, t) =>
      Buffer.from(Uint8Array.from({ length: rows * row }, (_byte, k) => (base + 131 * t + k) % 251)),
    ),
  );
}

async function prompt(node: TcpNode, port: number, options: object = {}, desc = DESC) {
  await node.call('start', LLMRole.PROMPT, 1n, { deviceId: 0, listenIpInfo: `127.0.0.1:${port}`, ...options });
  return node.call('cache', desc, 7);
}

interface Linked {
  readonly peer: TcpNode;
  readonly port: number;
  readonly decoder: LLMDataDist;
  readonly cache: KvCache;
  readonly source: Awaited<ReturnType<typeof prompt>>;
}

/** A prompt elsewhere and a decoder here that has linked to it. */
async function linked(peer: TcpNode, options: object = PATIENT, desc = DESC): Promise<Linked> {
  const port = await freePort();
  const source = await prompt(peer, port, { syncKvTimeout: 60_000 }, desc);
  const decoder = instance(2n);
  await decoder.init(options);
  const cache = await decoder.kvCacheManager.allocateCache(desc);
  if (desc !== LARGE) await fill(cache, 90);
  await decoder.linkClusters([clusterAt(1n, port)], LONG);
  return { peer, port, decoder, cache, source };
}

const code = async (call: Promise<unknown>) => ((await rejection(call)) as { code?: string }).code;

describe.each([
  ['a process', () => TcpNode.inProcess()],
  ['a worker thread', () => TcpNode.inWorker()],
])('an instance in %s', (_where, start) => {
  test('is linked to, pulled from, pushed to, and pulls over the same link', async () => {
    const { peer, decoder, cache, source } = await linked(start());
    const manager = decoder.kvCacheManager;
    await manager.pullBlocks(source, cache, [0, 1, 2], [1, 2, 3]);
    const theirs = pattern(DESC, 7);
    const mine = pattern(DESC, 90);
    for (const tensor of [0, 4000]) {
      theirs.copy(mine, tensor + 1000, tensor, tensor + 3000);
    }
    expect((await bytesOf(cache)).equals(mine)).toBe(true);
    // One layer of both tensors.
    await manager.pushBlocks(source, cache, [0], [3]);
    for (const tensor of [0, 4000]) mine.copy(theirs, tensor + 3000, tensor, tensor + 1000);
    expect(Buffer.from(await peer.call('bytes', 0)).equals(theirs)).toBe(true);
    await peer.call('pull', { clusterId: 2n, cacheId: cache.cacheId }, 0, [3], [0]);
    for (const tensor of [0, 4000]) mine.copy(theirs, tensor, tensor + 3000, tensor + 4000);
    expect(Buffer.from(await peer.call('bytes', 0)).equals(theirs)).toBe(true);
  });
});

test('a transfer of many small blocks in many tensors arrives as one of few large ones does', async () => {
  const desc = { numTensors: 40, dataType: DataType.DT_INT8, shape: [500, 100] };
  const { decoder, cache, source } = await linked(TcpNode.inProcess(), PATIENT, desc);
  const blocks = Array.from({ length: 250 }, (_, i) => 2 * i);
  await decoder.kvCacheManager.pullBlocks(source, cache, blocks, blocks.toReversed());
  const theirs = pattern(desc, 7);
  const expected = pattern(desc, 90);
  for (let tensor = 0; tensor < expected.length; tensor += 50_000) {
    for (const block of blocks) {
      const from = tensor + block * 100;
      theirs.copy(expected, tensor + (498 - block) * 100, from, from + 100);
    }
  }
  expect((await bytesOf(cache)).equals(expected)).toBe(true);
});

describe('a link to', () => {
  const servers: Server[] = [];
  const sockets: Socket[] = [];
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
    for (const server of servers.splice(0)) server.close();
  });

  async function stranger(behave: (socket: Socket) => void): Promise<number> {
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => undefined);
      behave(socket);
    });
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  test.each([
    ['a port that nobody listens on', undefined, 'LLM_LINK_FAILED', 'LLM_UNLINK_FAILED'],
    ['a service that accepts and never answers', () => undefined, 'LLM_TIMEOUT', 'LLM_TIMEOUT'],
    ['a service that closes the connection', (socket: Socket) => socket.destroy(), 'LLM_FAILED', 'LLM_FAILED'],
    [
      'a service of another kind',
      (socket: Socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'),
      'LLM_FAILED',
      'LLM_FAILED',
    ],
  ] as const)('%s fails as it does in memory', async (_what, behave, link, unlink) => {
    const port = behave === undefined ? await freePort() : await stranger(behave);
    const dist = instance(2n);
    await dist.init(PATIENT);
    const timeout = { timeout: link === 'LLM_TIMEOUT' ? 300 : 60_000 };
    expect(await code(dist.linkClusters([clusterAt(1n, port)], timeout))).toBe(link);
    expect(await code(dist.unlinkClusters([clusterAt(1n, port)], timeout))).toBe(unlink);
  });

  test('an instance of the other transfer backend fails', async () => {
    const port = await freePort();
    const hixl = instance(1n);
    await hixl.init({ deviceId: 0, listenIpInfo: `127.0.0.1:${port}`, transferBackend: 'hixl' });
    const dist = instance(2n);
    await dist.init(PATIENT);
    expect(await code(dist.linkClusters([clusterAt(1n, port)], LONG))).toBe('LLM_FAILED');
  });
});

test('a port that another process listens on is taken', async () => {
  const port = await freePort();
  await prompt(TcpNode.inProcess(), port);
  expect(await code(instance(3n).init({ deviceId: 0, listenIpInfo: `127.0.0.1:${port}` }))).toBe('LLM_FAILED');
});

test('a peer that is killed fails pulls and keeps its link until that is forced, and can be linked to again', async () => {
  const { peer, port, decoder, cache, source } = await linked(TcpNode.inProcess());
  const manager = decoder.kvCacheManager;
  await manager.pullBlocks(source, cache, [0], [0]);
  await peer.kill();
  expect(await code(manager.pullBlocks(source, cache, [0], [0]))).toBe('LLM_FAILED');
  const cluster = clusterAt(1n, port);
  expect(await code(decoder.unlinkClusters([cluster], LONG))).toBe('LLM_UNLINK_FAILED');
  expect(await code(manager.pullBlocks(source, cache, [0], [0]))).toBe('LLM_FAILED');
  await decoder.unlinkClusters([cluster], { ...LONG, force: true });
  expect(await code(manager.pullBlocks(source, cache, [0], [0]))).toBe('LLM_NOT_YET_LINK');
  expect(await code(decoder.linkClusters([cluster], LONG))).toBe('LLM_LINK_FAILED');
  const again = await prompt(TcpNode.inProcess(), port);
  await decoder.linkClusters([cluster], LONG);
  await manager.pullBlocks(again, cache, [0, 1, 2, 3], [0, 1, 2, 3]);
  expect((await bytesOf(cache)).equals(pattern(DESC, 7))).toBe(true);
});

describe('a peer that is stopped', () => {
  // Long enough for a peer that runs, on a busy machine too.
  const HASTY = { deviceId: 1, syncKvTimeout: 2000 };

  test('lets a pull time out, and its late bytes are not written', async () => {
    const { peer, decoder, cache, source } = await linked(TcpNode.inProcess(), HASTY, LARGE);
    const manager = decoder.kvCacheManager;
    // The table is copied, and the peer can be stopped in mid-transfer.
    await manager.pullBlocks(source, cache, [0], [0]);
    peer.signal('SIGSTOP');
    expect(await code(manager.pullBlocks(source, cache, ALL_BLOCKS, ALL_BLOCKS))).toBe('LLM_TIMEOUT');
    const before = await bytesOf(cache);
    peer.signal('SIGCONT');
    // What the peer was asked for first comes first.
    expect(await peer.call('memory')).toBeGreaterThan(0);
    await manager.pullBlocks(source, cache, [0], [0]);
    expect((await bytesOf(cache)).equals(before)).toBe(true);
  });

  test('does not write the bytes of a push that was given up', async () => {
    const { peer, decoder, cache, source } = await linked(TcpNode.inProcess(), HASTY, LARGE);
    const manager = decoder.kvCacheManager;
    await manager.pullBlocks(source, cache, [0], [0]);
    const before = Buffer.from(await peer.call('bytes', 0));
    peer.signal('SIGSTOP');
    expect(await code(manager.pushBlocks(source, cache, ALL_BLOCKS, ALL_BLOCKS))).toBe('LLM_TIMEOUT');
    peer.signal('SIGCONT');
    await manager.pullBlocks(source, cache, [0], [0]);
    expect(Buffer.from(await peer.call('bytes', 0)).equals(before)).toBe(true);
  });

  test('lets a link time out', async () => {
    const { peer, port } = await linked(TcpNode.inProcess(), PATIENT);
    peer.signal('SIGSTOP');
    const other = instance(3n);
    await other.init({ deviceId: 2 });
    expect(await code(other.linkClusters([clusterAt(1n, port)], { timeout: 300 }))).toBe('LLM_TIMEOUT');
  });
});

test('a forced unlink leaves the link of the peer, and a normal one takes it', async () => {
  const { peer, port, decoder, cache, source } = await linked(TcpNode.inProcess());
  const cluster = clusterAt(1n, port);
  const pullBack = () => peer.call('pull', { clusterId: 2n, cacheId: cache.cacheId }, 0, [1], [1]);
  await decoder.unlinkClusters([cluster], { ...LONG, force: true });
  expect(await code(decoder.kvCacheManager.pullBlocks(source, cache, [0], [0]))).toBe('LLM_NOT_YET_LINK');
  await pullBack();
  await decoder.unlinkClusters([cluster], LONG);
  await expect(pullBack()).rejects.toThrow('LLM_NOT_YET_LINK');
});

test('a peer that is finalized is gone for those that hold a link to it', async () => {
  const { peer, decoder, cache, source } = await linked(TcpNode.inProcess());
  await peer.call('finalize');
  expect(await code(decoder.kvCacheManager.pullBlocks(source, cache, [0], [0]))).toBe('LLM_FAILED');
});

test('what was unregistered is not read, and what was registered late is told apart from what never was', async () => {
  const { peer, decoder, cache, source } = await linked(TcpNode.inProcess());
  const manager = decoder.kvCacheManager;
  await manager.pullBlocks(source, cache, [0], [0]);
  const late = await peer.call('cache', DESC, 1);
  const error = (await rejection(manager.pullBlocks(late, cache, [0], [0]))) as { code: string; message: string };
  expect(error.code).toBe('LLM_KV_CACHE_NOT_EXIST');
  expect(error.message).toContain('after this link had copied its table');
  const never = (await rejection(manager.pullBlocks({ clusterId: 1n, cacheId: 99n }, cache, [0], [0]))) as Error;
  expect(never.message).toContain('had no cache 99');
});

describe('addresses that are not the loopback', () => {
  test.each(['0.0.0.0', '192.0.2.1', '[::]'])('%s is not listened on', async (ip) => {
    const error = (await rejection(instance(1n).init({ deviceId: 0, listenIpInfo: `${ip}:26000` }))) as Error;
    expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    expect(error.message).toContain('allowRemote: true');
  });

  test.each(['0.0.0.0', '192.0.2.1'])('%s is not connected to', async (ip) => {
    const dist = instance(2n);
    await dist.init(PATIENT);
    const cluster = { ...clusterAt(1n, 26_000), remoteIpInfos: [{ ip, port: 26_000 }] };
    const error = (await rejection(dist.linkClusters([cluster], LONG))) as Error;
    expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    expect(error.message).toContain('allowRemote: true');
  });

  test('are taken with allowRemote', async () => {
    const remote = createTcpFabric({ allowRemote: true });
    const port = await freePort();
    const dist = track(new LLMDataDist(LLMRole.PROMPT, 1n, { backend: remote.backend }));
    await dist.init({ deviceId: 0, listenIpInfo: `0.0.0.0:${port}` });
    const decoder = instance(2n);
    await decoder.init(PATIENT);
    await decoder.linkClusters([clusterAt(1n, port)], LONG);
  });
});

test('options that are none are refused', () => {
  const create = createTcpFabric as (options: unknown) => unknown;
  expect(() => create(1)).toThrow(TypeError);
  expect(() => create({ allowRemote: 'yes' })).toThrow(/options\.allowRemote/);
  for (const options of [
    { handshakeTimeout: 0 },
    { frameTimeout: 2 ** 31 },
    { unreadTimeout: 0 },
    { maxUnlinked: 0 },
    { maxConnections: 65_536 },
    { patience: 0 },
  ]) {
    expect(() => create(options)).toThrow(RangeError);
  }
});

test('an instance that listens and is linked keeps no process alive', async () => {
  const { peer, port } = await linked(TcpNode.inProcess());
  const own = await freePort();
  const program = `
    const { LLMDataDist } = require('./datadist.js');
    const { createTcpFabric } = require('./backend/mock/tcp/tcp-fabric.js');
    const dist = new LLMDataDist(2, 3n, { backend: createTcpFabric().backend });
    dist.init({ deviceId: 3, listenIpInfo: '127.0.0.1:${own}' })
      .then(() => dist.linkClusters([{ remoteClusterId: 1n, remoteIpInfos: [{ ip: '127.0.0.1', port: ${port} }] }], { timeout: 60000 }))
      .then(() => console.log('linked'));`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', program], {
    cwd: TcpNode.lib,
    encoding: 'utf8',
    timeout: 60_000,
  });
  expect({ status, stdout, stderr }).toMatchObject({ status: 0, stdout: 'linked\n' });
  expect(await peer.call('memory')).toBeGreaterThan(0);
});

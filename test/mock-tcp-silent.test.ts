import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { descriptorLimit, readLimit } from '../lib/backend/mock/tcp/descriptor-limit';
import { FrameKind } from '../lib/backend/mock/tcp/frame';
import { writeCacheId } from '../lib/backend/mock/tcp/messages';
import { frame } from './fixtures/frames';
import type { Frames } from './fixtures/frames';
import { dial, hello, intruder, listening } from './fixtures/intruder';
import { TcpNode } from './fixtures/tcp-node';

jest.setTimeout(120_000);

/** Long enough that no connection of a test ends by it. */
const HOUR = 3_600_000;

const isOpen = ({ socket }: Frames) => !socket.destroyed && socket.readyState === 'open';

async function dialMany(count: number, port: number, greeting?: Buffer, localAddress?: string): Promise<Frames[]> {
  const all: Frames[] = [];
  for (let i = 0; i < count; i++) {
    const frames = await dial(port, localAddress);
    all.push(frames);
    if (greeting === undefined) continue;
    frames.socket.write(greeting);
    expect(await frames.next()).toMatchObject({ kind: FrameKind.ANSWER });
  }
  return all;
}

async function untilClosed(...some: readonly Frames[]): Promise<void> {
  for (const frames of some) expect(await frames.next()).toBeUndefined();
}

/** A linked peer is served. */
async function checkServed(frames: Frames): Promise<void> {
  frames.socket.write(frame(FrameKind.HAS_CACHE, 20, writeCacheId(1n)));
  expect(await frames.next()).toMatchObject({ kind: FrameKind.ANSWER, id: 20 });
}

describe('connections without a link', () => {
  test.each([
    ['say nothing', undefined],
    ['say which instance they are', hello(7n)],
  ])('that %s make way for new ones, the oldest first', async (_what, greeting) => {
    const { port } = await listening({ maxUnlinked: 10, handshakeTimeout: HOUR });
    const linked = await intruder(port);
    const silent = await dialMany(50, port, greeting);
    const late = await intruder(port, 10n);
    await untilClosed(...silent.slice(0, 40));
    expect(silent.slice(41).every(isOpen)).toBe(true);
    await checkServed(linked);
    await checkServed(late);
  });

  test('make way when they are silent before those that said something', async () => {
    const { port } = await listening({ maxUnlinked: 4, handshakeTimeout: HOUR });
    const greeted = await dialMany(2, port, hello(7n));
    const silent = await dialMany(5, port);
    await untilClosed(...silent.slice(0, 3));
    expect([...greeted, ...silent.slice(3)].every(isOpen)).toBe(true);
  });

  test('from one address do not make those from another one go', async () => {
    const { port } = await listening({ maxUnlinked: 4, handshakeTimeout: HOUR });
    const other = await dialMany(2, port, undefined, '127.0.0.2');
    const many = await dialMany(20, port);
    await untilClosed(...many.slice(0, 16));
    expect(other.every(isOpen)).toBe(true);
  });

  test('from all addresses together are as many as from two', async () => {
    const { port } = await listening({ maxUnlinked: 4, handshakeTimeout: HOUR });
    const byAddress: Frames[][] = [];
    for (let i = 2; i < 5; i++) byAddress.push(await dialMany(3, port, undefined, `127.0.0.${i}`));
    // The ninth one was one too many, and the first address had as many as any.
    await untilClosed(byAddress[0]![0]!);
    expect(byAddress.flat().filter(isOpen)).toHaveLength(8);
  });

  test.each([
    ['says nothing', undefined],
    ['says no more than which instance it is', hello(7n)],
  ])('end in time when the peer %s', async (_what, greeting) => {
    const { port } = await listening({ handshakeTimeout: 100 });
    const linked = await intruder(port);
    await untilClosed(...(await dialMany(3, port, greeting)));
    await checkServed(linked);
  });

  test('make way where there are as many connections as may be, and links do not', async () => {
    const { port } = await listening({ maxConnections: 2, handshakeTimeout: HOUR });
    const first = await intruder(port);
    const silent = await dial(port);
    const second = await intruder(port, 10n);
    await untilClosed(silent, await dial(port));
    await checkServed(first);
    await checkServed(second);
  });
});

test('the limit of open files is read, and none is found where it is not given', () => {
  expect(descriptorLimit()).toBeGreaterThan(10);
  const folder = mkdtempSync(join(tmpdir(), 'limits-'));
  const path = join(folder, 'limits');
  writeFileSync(path, 'Max open files            256                  4096                 files\n');
  expect(readLimit(path)).toBe(256);
  writeFileSync(path, 'Max open files            unlimited            unlimited            files\n');
  expect(readLimit(path)).toBe(Infinity);
  rmSync(folder, { recursive: true });
  expect(readLimit(path)).toBe(Infinity);
});

/** An instance in a process that may open `files` files; its port is what it prints. */
function withFiles(files: number, options: object) {
  const program = `
    const { LLMDataDist } = require('./datadist.js');
    const { createTcpFabric } = require('./backend/mock/tcp/tcp-fabric.js');
    const { hostPorts } = require('./conformance/ports.js');
    (async () => {
      const dist = new LLMDataDist(1, 1n, { backend: createTcpFabric(${JSON.stringify(options)}).backend });
      const [port] = await hostPorts(1);
      await dist.init({ deviceId: 0, listenIpInfo: '127.0.0.1:' + port });
      console.log(port);
      process.stdin.resume().on('end', () => dist.finalize());
    })();`;
  return spawn('sh', ['-c', 'ulimit -n "$0" && exec "$1" -e "$2"', String(files), process.execPath, program], {
    cwd: TcpNode.lib,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}

test.each([
  ['are kept by default', {}],
  ['are kept where more are allowed', { maxUnlinked: 1000 }],
])(
  'a process with few file descriptors is linked to although many connections are silent: some %s',
  async (_what, options) => {
    const child = withFiles(100, options);
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const port = Number(line.toString());
    const silent = await dialMany(300, port);
    await checkServed(await intruder(port));
    expect(silent.filter(isOpen).length).toBeLessThan(100);
    child.stdin.end();
    expect(await once(child, 'exit')).toEqual([0, null]);
  },
);

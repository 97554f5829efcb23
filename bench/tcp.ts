import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { LLMDataDist, LLMRole } from '../lib';
import { createTcpFabric } from '../lib/testing';
import { reversingLists } from './block-copy';
import { checkReversed } from './contents';
import { blocksOf } from './node';
import { compared } from './result';
import type { Result } from './result';
import { Ring } from './ring';
import { runRounds, timed } from './rounds';
import type { Contestant } from './rounds';
import type { Suite, SuiteOptions } from './suite';
import { OWNER_ID } from './tcp-messages';
import type { TcpOwner, TcpRequest } from './tcp-messages';

const MIB = 2 ** 20;
const TENSORS = 4;
const BLOCK_BYTES = 2 * MIB;
const BLOCKS_PER_PULL = [1, 4];
const GOAL = { kind: 'at least', bound: 0.7 } as const;
/** More than a call may take on a machine with much to do. */
const WAIT_MS = 60_000;

/** How many bytes a pull from another process moves, next to a bare connection of `node:net` that sends as many. */
export const tcp: Suite = {
  name: 'tcp',
  title: `Pulls of scattered blocks of 2 MiB, ${TENSORS} tensors, from another process, next to node:net alone, on the mock`,
  backend: 'mock',
  run: measureTcp,
};

export async function measureTcp(options: SuiteOptions): Promise<Result[]> {
  const most = Math.max(...BLOCKS_PER_PULL);
  const rows = Math.ceil(options.workingSet / (4 * TENSORS * BLOCK_BYTES * most)) * most;
  const child = fork(join(__dirname, 'tcp-process.js'), { serialization: 'advanced' });
  try {
    return await measureWith(child, rows, options);
  } finally {
    child.disconnect();
  }
}

async function measureWith(child: ChildProcess, rows: number, options: SuiteOptions): Promise<Result[]> {
  const request: TcpRequest = { blockBytes: BLOCK_BYTES, rows, tensors: TENSORS };
  child.send(request);
  const [owner] = (await once(child, 'message')) as [TcpOwner];
  const ip = '127.0.0.1';
  const info = { remoteClusterId: OWNER_ID, remoteIpInfos: [{ ip, port: owner.port }], localIpInfos: [{ ip }] };
  const puller = new LLMDataDist(LLMRole.DECODER, OWNER_ID + 1n, { backend: createTcpFabric().backend });
  await puller.init({ deviceId: 1, syncKvTimeout: WAIT_MS });
  const manager = puller.kvCacheManager;
  const local = await manager.allocateCache(blocksOf(BLOCK_BYTES, rows, TENSORS));
  await puller.linkClusters([info], { timeout: WAIT_MS });
  const socket = connect({ port: owner.plainPort, host: ip, noDelay: true });
  await once(socket, 'connect');
  const results: Result[] = [];
  for (const blocks of BLOCKS_PER_PULL) {
    const lists = reversingLists(rows, blocks);
    const ring = new Ring(lists);
    const pulling: Contestant = (operations) =>
      timed(async () => {
        for (let i = 0; i < operations; i++) {
          const { src, dst } = ring.next();
          await manager.pullBlocks(owner.key, local, src, dst);
        }
      });
    const [pulls = [], plain = []] = await runRounds([pulling, receiving(socket, blocks * TENSORS)], options);
    const rate = (ms: number): number => (BLOCK_BYTES * blocks * TENSORS) / 1e6 / ms;
    const rival = { name: 'node:net', samples: plain.map(rate) };
    const name = `${blocks} block${blocks === 1 ? '' : 's'} of 2 MiB per pull`;
    results.push(compared(tcp.name, name, 'GB/s', pulls.map(rate), rival, GOAL));
    for (const { src, dst } of lists) await manager.pullBlocks(owner.key, local, src, dst);
    await checkReversed({ local, blockBytes: BLOCK_BYTES, rows });
  }
  socket.destroy();
  await puller.unlinkClusters([info], { timeout: WAIT_MS });
  await manager.deallocateCache(local);
  await puller.finalize();
  return results;
}

/** Bytes of a bare connection, counted as they come. */
function receiving(socket: Socket, blocks: number): Contestant {
  const request = Buffer.alloc(4);
  request.writeUInt32BE(blocks);
  let missing = 0;
  let done: (() => void) | undefined;
  socket.removeAllListeners('data');
  socket.on('data', (chunk) => {
    missing -= chunk.length;
    if (missing === 0) done?.();
  });
  return (operations) =>
    timed(async () => {
      for (let i = 0; i < operations; i++) {
        missing = blocks * BLOCK_BYTES;
        const received = new Promise<void>((resolve) => {
          done = resolve;
        });
        socket.write(request);
        await received;
      }
    });
}

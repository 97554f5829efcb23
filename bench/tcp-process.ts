import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { LLMDataDist, LLMRole } from '../lib';
import { hostPorts } from '../lib/conformance';
import { createTcpFabric } from '../lib/testing';
import { mark } from './contents';
import { blocksOf } from './node';
import { OWNER_ID } from './tcp-messages';
import type { TcpOwner, TcpRequest } from './tcp-messages';

// The other end of the suite tcp: an instance whose cache is pulled, and a server that sends as many bytes by itself.
async function answer({ blockBytes, rows, tensors }: TcpRequest): Promise<TcpOwner> {
  const desc = blocksOf(blockBytes, rows, tensors);
  const [port = 0] = await hostPorts(1);
  const dist = new LLMDataDist(LLMRole.PROMPT, OWNER_ID, { backend: createTcpFabric().backend });
  await dist.init({ deviceId: 0, listenIpInfo: `127.0.0.1:${port}` });
  const cache = await dist.kvCacheManager.allocateCache(desc);
  await mark(cache, blockBytes, rows);
  const block = Buffer.alloc(blockBytes, 1);
  const server = createServer((socket) => {
    socket.setNoDelay(true);
    socket.on('data', (request) => {
      void send(socket, block, request.readUInt32BE(0));
    });
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      resolve({ port, key: cache.key(), plainPort: (server.address() as AddressInfo).port });
    });
  });
}

async function send(socket: Socket, block: Buffer, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    if (socket.write(block)) continue;
    await new Promise((resolve) => socket.once('drain', resolve));
  }
}

if (process.send === undefined) throw new Error('this file is run by a process of benchmarks only');
process.once('message', (request: TcpRequest) => {
  answer(request).then(
    (owner) => process.send?.(owner),
    // As an uncaught exception it is told on stderr, and ends the process.
    (error: unknown) => {
      queueMicrotask(() => {
        throw error;
      });
    },
  );
});
process.once('disconnect', () => {
  process.exit();
});

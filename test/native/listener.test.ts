import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, readFileSync } from 'node:fs';
import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { LLMRole } from '../../lib';
import { portServer } from './fixtures/port-server';
import { endAfterTest, instance, standIn } from './fixtures/stand-in';

const O_CLOEXEC = 0o2000000;

/**
 * The stand-in opens no sockets. Those of a server of this process stand for the ones that the library would listen on: the
 * shim knows them by their address only.
 */
async function listening(): Promise<{ server: Server; port: number; listenIpInfo: string }> {
  const { server, port } = await portServer({ allowHalfOpen: true });
  return { server, port, listenIpInfo: `127.0.0.1:${port}` };
}

/** A process that connects and says nothing until its connection ends; then it prints that and ends. */
async function silentClient(server: Server, port: number): Promise<{ accepted: Socket; ended: Promise<string> }> {
  const program = `
    const socket = require('node:net').connect(${port}, '127.0.0.1');
    socket.on('end', () => process.stdout.write('ended'));
    socket.resume();
  `;
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise<string>((resolve) => {
    let printed = '';
    child.stdout.on('data', (data: Buffer) => {
      printed += data.toString();
    });
    child.on('close', () => {
      resolve(printed);
    });
  });
  const [accepted] = (await once(server, 'connection')) as [Socket];
  // As the library's thread does when it reads the end of the connection.
  accepted.on('end', () => accepted.destroy()).resume();
  return { accepted, ended };
}

describe('finalizing an instance that listens', () => {
  test('ends the connections that have come in, before the library is told', async () => {
    const { server, port, listenIpInfo } = await listening();
    const dist = instance(LLMRole.PROMPT, 1n);
    await dist.init({ deviceId: 0, listenIpInfo });
    const { ended } = await silentClient(server, port);
    await dist.finalize();
    expect(await ended).toBe('ended');
    const calls = standIn.journal().filter(({ method }) => method === 'SetRole' || method === 'Finalize');
    expect(calls.map(({ method }) => method)).toEqual(['SetRole', 'Finalize']);
  });

  test('leaves connections to other addresses alone', async () => {
    const other = await listening();
    const { listenIpInfo } = await listening();
    const dist = instance(LLMRole.PROMPT, 1n);
    await dist.init({ deviceId: 0, listenIpInfo });
    const { accepted, ended } = await silentClient(other.server, other.port);
    await dist.finalize();
    expect(accepted.writableEnded || accepted.destroyed).toBe(false);
    accepted.end();
    expect(await ended).toBe('ended');
  });
});

describe('sockets of the program with the port of the listener', () => {
  test('a UDP socket goes on', async () => {
    const { port, listenIpInfo } = await listening();
    const socket = createSocket('udp4');
    const peer = createSocket('udp4');
    endAfterTest(async () => {
      socket.close();
      peer.close();
    });
    socket.bind(port, '127.0.0.1');
    await once(socket, 'listening');
    peer.bind(0, '127.0.0.1');
    await once(peer, 'listening');
    socket.connect(peer.address().port, '127.0.0.1');
    await once(socket, 'connect');
    const dist = instance(LLMRole.PROMPT, 1n);
    await dist.init({ deviceId: 0, listenIpInfo });
    await dist.finalize();
    for (const [from, to, address] of [
      [socket, peer, []],
      [peer, socket, [port, '127.0.0.1']],
    ] as const) {
      const received = once(to, 'message');
      from.send('still there', ...(address as []));
      expect(String(((await received) as [Buffer])[0])).toBe('still there');
    }
  });

  test('a connection that the program opened from the port goes on', async () => {
    const other = await listening();
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port: localPort } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    endAfterTest(async () => {
      server.close();
    });
    const accepted = once(other.server, 'connection');
    const socket = connect({ host: '127.0.0.1', port: other.port, localAddress: '127.0.0.1', localPort });
    await once(socket, 'connect');
    const [far] = (await accepted) as [Socket];
    endAfterTest(async () => {
      socket.destroy();
      far.destroy();
    });
    server.listen(localPort, '127.0.0.1');
    await once(server, 'listening');
    const dist = instance(LLMRole.PROMPT, 1n);
    await dist.init({ deviceId: 0, listenIpInfo: `127.0.0.1:${localPort}` });
    await dist.finalize();
    const data = once(far, 'data');
    socket.write('still there');
    expect(String(((await data) as [Buffer])[0])).toBe('still there');
    expect(socket.readableEnded).toBe(false);
  });
});

describe('a role switch that stops listening', () => {
  test('ends the connections and asks again: a link that was being made did not count', async () => {
    const { server, port, listenIpInfo } = await listening();
    const dist = instance(LLMRole.PROMPT, 1n);
    await dist.init({ deviceId: 0, listenIpInfo });
    const { ended } = await silentClient(server, port);
    await dist.switchRole(LLMRole.DECODER);
    expect(await ended).toBe('ended');
    expect(standIn.journal().filter(({ method }) => method === 'SetRole')).toHaveLength(2);
    expect(dist.role).toBe(LLMRole.DECODER);
  });

  test('says that links exist where the second answer is that', async () => {
    const { listenIpInfo } = await listening();
    const dist = instance(LLMRole.PROMPT, 1n);
    await dist.init({ deviceId: 0, listenIpInfo });
    standIn.set('SetRole', { status: 0x5010b018, skip: 1, times: 1 });
    await expect(dist.switchRole(LLMRole.DECODER)).rejects.toMatchObject({ code: 'LLM_EXIST_LINK' });
  });

  test('ends silent connections before the library is called, which waits for them', async () => {
    const { server, port, listenIpInfo } = await listening();
    const dist = instance(LLMRole.PROMPT, 1n);
    await dist.init({ deviceId: 0, listenIpInfo });
    const { ended } = await silentClient(server, port);
    standIn.set('SetRole', { block: true, times: 1 });
    const switched = dist.switchRole(LLMRole.DECODER);
    await standIn.waitEntered('SetRole');
    expect(await ended).toBe('ended');
    standIn.release('SetRole');
    await switched;
  });

  test('that the library refuses lets connections come in as before', async () => {
    const { server, port, listenIpInfo } = await listening();
    const dist = instance(LLMRole.PROMPT, 1n);
    await dist.init({ deviceId: 0, listenIpInfo });
    standIn.set('SetRole', { status: 0x5010b018, times: 1 });
    await expect(dist.switchRole(LLMRole.DECODER)).rejects.toMatchObject({ code: 'LLM_EXIST_LINK' });
    const { accepted, ended } = await silentClient(server, port);
    expect(accepted.destroyed).toBe(false);
    await dist.finalize();
    expect(await ended).toBe('ended');
  });

  test('of hixl, which keeps its listener, ends nothing', async () => {
    const { server, port, listenIpInfo } = await listening();
    const dist = instance(LLMRole.PROMPT, 1n);
    await dist.init({ deviceId: 0, listenIpInfo, transferBackend: 'hixl' });
    const { accepted, ended } = await silentClient(server, port);
    await dist.switchRole(LLMRole.DECODER);
    expect(accepted.destroyed).toBe(false);
    expect(standIn.journal().filter(({ method }) => method === 'SetRole')).toHaveLength(1);
    await dist.finalize();
    expect(await ended).toBe('ended');
  });
});

test('children of the process do not inherit the port, which would stay taken when it dies', async () => {
  const { fd, port } = standIn.listen();
  endAfterTest(async () => {
    closeSync(fd);
  });
  const isInherited = () => {
    const [, flags = ''] = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')) ?? [];
    return (Number.parseInt(flags, 8) & O_CLOEXEC) === 0;
  };
  expect(isInherited()).toBe(true);
  await instance(LLMRole.PROMPT, 1n).init({ deviceId: 0, listenIpInfo: `127.0.0.1:${port}` });
  expect(isInherited()).toBe(false);
});

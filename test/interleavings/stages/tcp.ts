import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { createFabric } from '../../../lib/testing';
import type { Plan } from '../steps';
import { FabricStage } from './fabric-stage';
import type { Stage } from './stage';

const LOOPBACK = '127.0.0.1';

/** Instances that reach each other over TCP. */
export async function tcpStage({ nodes }: Plan, seed: number): Promise<Stage> {
  const fabric = await createFabric({ network: 'tcp', clock: 'manual', strict: false, seed });
  const ports = await freePorts(nodes.length);
  const addresses = ports.map((port) => ({ ip: LOOPBACK, port }));
  return new FabricStage(fabric, fabric.clock, addresses);
}

/** Different ones: each is held until all are known. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  await Promise.all(servers.map((server) => new Promise<void>((done) => server.listen(0, LOOPBACK, done))));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

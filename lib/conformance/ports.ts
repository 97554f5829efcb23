import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';

/** Takes so many TCP ports that nobody listens on, all different. */
export type FreePorts = (count: number) => Promise<readonly number[]>;

const PLACEHOLDER = /\$\{port:([^}]+)\}/g;

/** The names of all `${port:NAME}` in the texts of a JSON value, in order of appearance. */
export function portNames(json: unknown): string[] {
  const names = new Set<string>();
  const visit = (value: unknown): void => {
    if (typeof value === 'string') for (const [, name = ''] of value.matchAll(PLACEHOLDER)) names.add(name);
    else if (typeof value === 'object' && value !== null) {
      for (const [key, inner] of Object.entries(value)) {
        visit(key);
        visit(inner);
      }
    }
  };
  visit(json);
  return [...names];
}

/** The ports that stand for the names of one scenario. */
export class Ports {
  constructor(readonly byName: ReadonlyMap<string, number>) {}

  static async take(names: readonly string[], freePorts: FreePorts): Promise<Ports> {
    const ports = await freePorts(names.length);
    return new Ports(new Map(names.flatMap((name, i) => (ports[i] === undefined ? [] : [[name, ports[i]]]))));
  }

  /** The text with ports in place of their names. */
  fill(text: string): string {
    return text.replaceAll(PLACEHOLDER, (placeholder, name: string) => String(this.byName.get(name) ?? placeholder));
  }

  /** A port that is a number, or a text that stands for one. */
  number(port: number | string): number {
    return typeof port === 'number' ? port : Number(this.fill(port));
  }
}

/** Ports for instances whose network is their own: numbers are all that they need. */
export const isolatedPorts: FreePorts = (count) => Promise.resolve(Array.from({ length: count }, (_, i) => 20_000 + i));

/** More than scenarios that run at the same time can have. */
const MAX_RECENT = 512;

/** Ports that were given last: nobody may listen there just now, and yet a scenario is not through with them. */
const recent = new Set<number>();

/** Ports of this host. All are open at the same time before any is closed, so that no two are the same. */
export const hostPorts: FreePorts = async (count) => {
  const servers: Server[] = [];
  const ports: number[] = [];
  try {
    while (ports.length < count) {
      const server = await listen();
      servers.push(server);
      const port = portOf(server);
      if (recent.has(port)) continue;
      ports.push(port);
      recent.add(port);
    }
    for (const port of [...recent].slice(0, -MAX_RECENT)) recent.delete(port);
    return ports;
  } finally {
    await Promise.all(servers.map(close));
  }
};

function listen(): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '0.0.0.0', () => {
      resolve(server);
    });
  });
}

/** A TCP server that listens has such an address, and can be closed. */
function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => {
      resolve();
    });
  });
}

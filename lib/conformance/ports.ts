import { createServer } from 'node:net';
import { threadId } from 'node:worker_threads';

/** Takes this number of TCP ports that nothing listens on, all different. */
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

// Below those that systems give to outgoing connections, which could take a port between its being found free and its use.
const FIRST_PORT = 17_000;

// For each process or thread, since its neighbours look for ports too: more than scenarios under way can have.
const SHARE = 512;
const SHARES = 17;

let given = 0;

/** Ports of this host, from 17,000 to 25,703. None comes again before the 511 others of its share: scenarios use them for a while. */
export const hostPorts: FreePorts = async (count) => {
  const first = FIRST_PORT + ((process.pid + threadId) % SHARES) * SHARE;
  const ports: number[] = [];
  for (let tried = 0; ports.length < count; tried += 1) {
    if (tried === SHARE) {
      throw new Error(
        `${count} free TCP ports are needed: from ${first} to ${first + SHARE - 1} there are ${ports.length}`,
      );
    }
    const port = first + (given++ % SHARE);
    if (await isFree(port)) ports.push(port);
  }
  return ports;
};

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(false);
      else reject(error);
    });
    server.listen(port, '0.0.0.0', () => {
      server.close(() => {
        resolve(true);
      });
    });
  });
}

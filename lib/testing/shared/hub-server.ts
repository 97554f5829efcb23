import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { nodeTimers } from '../../node-timers';
import { TOKEN_BYTES } from './control-address';
import type { ControlAddress, ListenPlace } from './control-address';
import { Hub } from './hub';
import type { SharedRules } from './protocol';
import { LONGEST_LINE, SocketLine } from './socket-line';

/** What a stranger has to say fits well. */
const LONGEST_GREETING = 1024;

/** Strangers at a time; of more the oldest has to go. */
const MAX_STRANGERS = 64;

/** Processes and strangers at a time. */
const MAX_CONNECTIONS = 1024;

/** The hub of a rehearsal as other processes reach it: by those alone that have the token of its address. */
export class HubServer {
  readonly hub: Hub;
  readonly #token = randomBytes(TOKEN_BYTES).toString('hex');
  readonly #limitMs: number;
  readonly #server: Server;
  readonly #strangers = new Set<SocketLine>();
  #place: ListenPlace = { host: '', port: 0 };

  constructor(rules: SharedRules, limitMs: number) {
    this.#limitMs = limitMs;
    this.hub = new Hub({ rules, limitMs, token: this.#token });
    this.#server = createServer((socket) => {
      this.#take(socket);
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** What other processes join with. */
  get address(): ControlAddress {
    return { ...this.#place, token: this.#token };
  }

  listen({ host, port }: ListenPlace): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error) => {
        reject(new Error(`the hub of the rehearsal cannot listen on ${host}:${port}: ${error.message}`));
      });
      this.#server.listen({ host, port, exclusive: true }, () => {
        this.#server.removeAllListeners('error');
        // Such as no more file descriptors: the process that connects is to try again.
        this.#server.on('error', () => undefined);
        this.#server.unref();
        const bound = this.#server.address();
        const actual = typeof bound === 'object' && bound !== null ? bound.port : port;
        this.#place = { host, port: actual };
        resolve();
      });
    });
  }

  async close(): Promise<void> {
    for (const stranger of [...this.#strangers]) stranger.close();
    await this.hub.close();
    await new Promise<void>((resolve) => {
      this.#server.close(() => {
        resolve();
      });
    });
  }

  #take(socket: Socket): void {
    const line = new SocketLine(socket, LONGEST_GREETING);
    const timer = nodeTimers
      .setTimeout(() => {
        line.close();
      }, this.#limitMs)
      .unref();
    const isKnown = () => {
      nodeTimers.clearTimeout(timer);
      this.#strangers.delete(line);
    };
    this.#strangers.add(line);
    this.hub.serve(
      line,
      () => {
        line.longestLine = LONGEST_LINE;
        isKnown();
      },
      isKnown,
    );
    const [oldest] = this.#strangers;
    if (this.#strangers.size > MAX_STRANGERS) oldest?.close();
  }
}

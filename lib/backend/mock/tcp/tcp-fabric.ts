import { connect as connectSocket, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { checkBoolean, checkInteger, checkOptionalObject } from '../../../check';
import { Deadline } from '../../../deadline';
import { LLMStatusCode } from '../../../status';
import type { ListenAddress } from '../../../option-text/listen-address';
import type { BackendFactory } from '../../backend';
import type { Clock } from '../clock';
import { RealClock } from '../clock';
import { MockBackend } from '../mock-backend';
import type { Link } from '../link';
import type { Binding, Connection, Network, Obstacles } from '../network';
import { failed, Refusal } from '../refusal';
import type { Session } from '../session';
import { Acceptor } from './acceptor';
import type { ChannelLimits } from './channel';
import { Channel } from './channel';
import { isLoopback } from './loopback';
import { RemotePeer } from './remote-peer';
import { TimeLimit } from './time-limit';

export interface TcpFabricOptions {
  /**
   * Whether instances may listen on, and connect to, other addresses than those of the loopback interface; 0.0.0.0 counts
   * as another one. Nobody is asked who he is: whoever reaches the port can read and write registered memory. Default false.
   */
  allowRemote?: boolean;
  /** How long a stranger may take to say who he is, in milliseconds, 1 to 2^31-1; default 10,000. */
  handshakeTimeout?: number;
  /** How long the rest of a message may take, in milliseconds, 1 to 2^31-1; default 30,000. */
  frameTimeout?: number;
  /**
   * By how much peers may take longer than the timeouts of the calls say, 1 to 1000: for rehearsals on machines that have
   * much else to do. Default 1.
   */
  patience?: number;
  /** Connections that a listener has at a time, 1 to 65,535; default 4096. */
  maxConnections?: number;
}

const MAX_TIMEOUT = 2 ** 31 - 1;

/** What one read takes at most. */
const READ_BYTES = 256 * 1024;

/** Strangers at a time that have not said who they are; of more the oldest has to go, so that others get their turn. */
const MAX_STRANGERS = 256;

interface TcpBinding extends Binding {
  readonly server: Server;
  readonly strangers: Set<Channel>;
}

/**
 * A network of mock instances over TCP: those of other processes and worker threads on this machine are found under the
 * `ip:port` that they listen on. Time is real there.
 */
export class TcpFabric implements Network {
  readonly #allowRemote: boolean;
  readonly #handshakeMs: number;
  readonly #maxConnections: number;
  readonly #limits: ChannelLimits;
  readonly #bindings = new WeakMap<Binding, TcpBinding>();
  #dialling = 0;
  /** @internal */
  obstacles: Obstacles | undefined;

  /** @throws TypeError, RangeError for options that are none */
  constructor(options: TcpFabricOptions = {}) {
    const given = checkOptionalObject(options, 'options');
    const {
      allowRemote = false,
      handshakeTimeout = 10_000,
      frameTimeout = 30_000,
      patience = 1,
      maxConnections = 4096,
    } = given;
    this.#allowRemote = checkBoolean(allowRemote, 'options.allowRemote');
    this.#handshakeMs = checkInteger(handshakeTimeout, 'options.handshakeTimeout', 1, MAX_TIMEOUT);
    this.#limits = {
      frameMs: checkInteger(frameTimeout, 'options.frameTimeout', 1, MAX_TIMEOUT),
      patience: checkInteger(patience, 'options.patience', 1, 1000),
    };
    this.#maxConnections = checkInteger(maxConnections, 'options.maxConnections', 1, 0xffff);
  }

  /** Makes instances on this network: `new LLMDataDist(role, id, { backend: fabric.backend })`. */
  readonly backend: BackendFactory = (clusterId, role) => new MockBackend(clusterId, role, { fabric: this });

  async bind({ ip, boundPort }: ListenAddress, session: Session): Promise<Binding> {
    this.#checkAddress(ip, 'listen on');
    const server = createServer();
    server.maxConnections = this.#maxConnections;
    const port = await listen(server, ip, boundPort);
    const binding: TcpBinding = { ip, port, address: `${ip}:${port}`, session, server, strangers: new Set() };
    server.on('connection', (socket) => {
      this.#accept(socket, binding);
    });
    // Such as no more file descriptors: who connects is to try again, and this instance has its other peers.
    server.on('error', () => undefined);
    server.unref();
    this.#bindings.set(binding, binding);
    return binding;
  }

  release(binding: Binding): void {
    const bound = this.#bindings.get(binding);
    bound?.server.close();
    for (const channel of bound?.strangers ?? []) channel.destroy();
  }

  async dial(from: Session, ip: string, port: number, timeoutMs: number): Promise<Connection> {
    this.#checkAddress(ip, 'connect to');
    const limit = new TimeLimit({
      ms: timeoutMs,
      patience: this.#limits.patience,
      clock: from.clock,
      refusal: () => new Refusal(LLMStatusCode.LLM_TIMEOUT, `${ip}:${port} is silent`),
    });
    this.#dialling += 1;
    let connection: Connection;
    try {
      connection = await this.#reach(from, ip, port, limit);
    } finally {
      this.#dialling -= 1;
    }
    const peer = connection.kind === 'accepted' ? connection.peer : undefined;
    if (this.obstacles?.between(from.clusterId, peer?.identity.clusterId) !== true) return connection;
    peer?.close();
    await limit.passOnClock();
    return { kind: 'unreachable' };
  }

  /** @internal How many connections are being made. */
  get dialling(): number {
    return this.#dialling;
  }

  async #reach(from: Session, ip: string, port: number, limit: TimeLimit): Promise<Connection> {
    const socket = await connect(ip, port, limit);
    if (typeof socket === 'string') return { kind: socket };
    const channel = new Channel(socket, this.#limits, () => failed(`${ip}:${port} closed the connection`));
    channel.belongTo(from);
    try {
      return { kind: 'accepted', peer: await RemotePeer.greet(channel, from, limit) };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      channel.destroy();
      return error.statusCode === LLMStatusCode.LLM_TIMEOUT
        ? { kind: 'silent' }
        : { kind: 'accepted', peer: undefined };
    }
  }

  isDisturbed({ local, far }: Link): boolean {
    return this.obstacles?.between(local.clusterId, far.clusterId) === true;
  }

  newClock(): Clock {
    return new RealClock();
  }

  #accept(socket: Socket, binding: TcpBinding): void {
    const { strangers } = binding;
    const channel: Channel = new Channel(socket, this.#limits, () => failed('a peer closed the connection'));
    const timer = setTimeout(() => {
      channel.destroy();
    }, this.#handshakeMs).unref();
    channel.service = new Acceptor(
      channel,
      () => binding.session,
      () => {
        clearTimeout(timer);
        strangers.delete(channel);
      },
    );
    strangers.add(channel);
    if (binding.session === undefined) channel.destroy();
    if (strangers.size <= MAX_STRANGERS) return;
    const [oldest] = strangers;
    oldest?.destroy();
  }

  #checkAddress(ip: string, verb: string): void {
    if (this.#allowRemote || isLoopback(ip)) return;
    throw new Refusal(
      LLMStatusCode.LLM_PARAM_INVALID,
      `the mock may not ${verb} ${ip}, which is not a loopback address, unless its network was made by ` +
        'createTcpFabric({ allowRemote: true })',
      {
        remedy: 'Use 127.0.0.1, or createTcpFabric({ allowRemote: true }) in a network that you trust.',
        recovery: 'fix-input',
      },
    );
  }
}

/**
 * A network over which mock instances of several processes and worker threads find each other.
 * @throws TypeError, RangeError for options that are none
 */
export function createTcpFabric(options?: TcpFabricOptions): TcpFabric {
  return new TcpFabric(options);
}

/** @returns the port */
function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      reject(failed(`cannot listen on ${host}:${port}: ${error.message}`));
    });
    server.listen({ host, port, exclusive: true }, () => {
      server.removeAllListeners('error');
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}

function connect(host: string, port: number, limit: TimeLimit): Promise<Socket | 'refused' | 'unreachable'> {
  return new Promise((resolve) => {
    // One buffer for all that is read: a new one for each piece would cost about as much as the bytes.
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    const callback = (length: number): boolean => socket.emit('data', buffer.subarray(0, length));
    const socket: Socket = connectSocket({ host, port, onread: { buffer, callback } });
    const deadline = new Deadline(
      limit.left,
      () => limit.left,
      () => {
        socket.destroy();
        resolve('unreachable');
      },
    );
    const settle = (outcome: Socket | 'refused') => {
      deadline.end();
      socket.removeAllListeners();
      resolve(outcome);
    };
    socket.once('connect', () => {
      settle(socket);
    });
    socket.once('error', () => {
      settle('refused');
    });
  });
}

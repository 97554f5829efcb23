import { connect as connectSocket, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { inspect } from 'node:util';
import type { InspectOptionsStylized } from 'node:util';
import { checkBoolean, checkInteger, checkObject } from '../../../check';
import { checkFabricOptions } from '../../../fabric-options';
import { Deadline } from '../../../deadline';
import { inspected } from '../../../inspection';
import { shortList } from '../../../short-list';
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
import { descriptorLimit } from './descriptor-limit';
import { isLoopback } from './loopback';
import { RemotePeer } from './remote-peer';
import { TimeLimit } from './time-limit';
import type { UnlinkedLimits } from './unlinked-connections';
import { UnlinkedConnections } from './unlinked-connections';

export interface TcpFabricOptions {
  /**
   * Whether instances may listen on, and connect to, other addresses than those of the loopback interface; 0.0.0.0 counts
   * as another one. There is no authentication: any program that reaches the port can read and write registered memory. Default false.
   */
  allowRemote?: boolean;
  /**
   * How long a connection may be without a link, in milliseconds, 1 to 2^31-1; default 10,000. When it is over the connection
   * is closed, at most half as much later.
   */
  handshakeTimeout?: number;
  /** How long the rest of a message may take, in milliseconds, 1 to 2^31-1; default 30,000. */
  frameTimeout?: number;
  /**
   * How long a peer may read nothing of what waits for it, in milliseconds, 1 to 2^31-1; default 30,000. Then its connection
   * is closed. Before that nothing more is read from a peer that leaves its answers unread.
   */
  unreadTimeout?: number;
  /**
   * By how much peers may take longer than the timeouts of the calls say, 1 to 1000: for rehearsals on machines that have
   * much else to do. Default 1.
   */
  patience?: number;
  /**
   * Connections that a listener has at a time, 1 to 65,535; default 4096. Where it has as many, a new one takes the place of
   * the oldest one that has no link, and is closed where all have one.
   */
  maxConnections?: number;
  /**
   * Connections without a link that a listener has at a time from one address, 1 to 65,535; default 512. They are no more than
   * a quarter of the files that this process may open. From all addresses together there are twice as many. Of more the oldest
   * one is closed, of those that have said nothing first.
   */
  maxUnlinked?: number;
}

const MAX_TIMEOUT = 2 ** 31 - 1;

/** What one read takes at most. */
const READ_BYTES = 256 * 1024;

/** Where descriptors run out connections are closed without a word, honest ones too. */
const SHARE_OF_DESCRIPTORS = 4;

interface TcpBinding extends Binding {
  readonly server: Server;
  readonly unlinked: UnlinkedConnections;
  /** All connections to this listener. */
  readonly open: Set<Channel>;
}

/**
 * A network of mock instances over TCP: those of other processes and worker threads on this machine are found under the
 * `ip:port` that they listen on. Time is real there.
 */
export class TcpFabric implements Network {
  readonly #allowRemote: boolean;
  readonly #unlinked: UnlinkedLimits;
  readonly #maxConnections: number;
  readonly #limits: ChannelLimits;
  readonly #bindings = new WeakMap<Binding, TcpBinding>();
  /** Where instances of this network listen. */
  readonly #listening = new Set<string>();
  #dialling = 0;
  /** @internal */
  obstacles: Obstacles | undefined;

  /** @throws TypeError, RangeError for options that are none */
  constructor(options: TcpFabricOptions = {}) {
    const given = checkObject(options, 'options');
    checkFabricOptions(given, 'options', 'tcp');
    const {
      allowRemote = false,
      handshakeTimeout = 10_000,
      frameTimeout = 30_000,
      unreadTimeout = 30_000,
      patience = 1,
      maxConnections = 4096,
      maxUnlinked = 512,
    } = given;
    this.#allowRemote = checkBoolean(allowRemote, 'options.allowRemote');
    this.#unlinked = {
      milliseconds: checkInteger(handshakeTimeout, 'options.handshakeTimeout', 1, MAX_TIMEOUT),
      perAddress: Math.min(
        checkInteger(maxUnlinked, 'options.maxUnlinked', 1, 0xffff),
        Math.max(1, Math.floor(descriptorLimit() / SHARE_OF_DESCRIPTORS)),
      ),
    };
    this.#limits = {
      frameMs: checkInteger(frameTimeout, 'options.frameTimeout', 1, MAX_TIMEOUT),
      unreadMs: checkInteger(unreadTimeout, 'options.unreadTimeout', 1, MAX_TIMEOUT),
      patience: checkInteger(patience, 'options.patience', 1, 1000),
    };
    this.#maxConnections = checkInteger(maxConnections, 'options.maxConnections', 1, 0xffff);
  }

  /** Makes instances on this network: `new LLMDataDist(role, id, { backend: fabric.backend })`. */
  readonly backend: BackendFactory = (clusterId, role) => new MockBackend(clusterId, role, { fabric: this });

  async bind({ ip, boundPort }: ListenAddress, session: Session): Promise<Binding> {
    this.#checkAddress(ip, 'listen on');
    const server = createServer();
    const port = await listen(server, ip, boundPort);
    const unlinked = new UnlinkedConnections(this.#unlinked);
    const address = `${ip}:${port}`;
    const binding: TcpBinding = { ip, port, address, session, server, unlinked, open: new Set() };
    server.on('connection', (socket) => {
      this.#accept(socket, binding);
    });
    // Such as no more file descriptors: the peer that connects is to try again, and this instance has its other peers.
    server.on('error', () => undefined);
    server.unref();
    this.#bindings.set(binding, binding);
    this.#listening.add(address);
    return binding;
  }

  release(binding: Binding): void {
    const bound = this.#bindings.get(binding);
    bound?.server.close();
    this.#listening.delete(binding.address);
    bound?.unlinked.clear();
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

  /** The network for logs. */
  toJSON(): Record<string, unknown> {
    return this.#summary();
  }

  /** @internal */
  [inspect.custom](depth: number | null, options: InspectOptionsStylized): string {
    return inspected('TcpFabric', this.#summary(), depth, options);
  }

  #summary() {
    return { listening: shortList([...this.#listening]), allowRemote: this.#allowRemote };
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
      // The peer has said why.
      if (channel.alive && error.statusCode !== LLMStatusCode.LLM_TIMEOUT) {
        channel.destroy();
        throw error;
      }
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
    const { unlinked, open } = binding;
    // A connection that has ended already has none.
    const address = socket.remoteAddress ?? '';
    const channel: Channel = new Channel(socket, this.#limits, () => failed('a peer closed the connection'));
    const { milliseconds } = this.#unlinked;
    channel.service = new Acceptor(channel, () => binding.session, {
      greeted() {
        unlinked.greeted(channel, address);
      },
      settled() {
        unlinked.remove(channel, address);
      },
      unsettled() {
        unlinked.add(channel, address, false);
      },
      closed() {
        unlinked.remove(channel, address);
        open.delete(channel);
      },
      newLimit: () =>
        new TimeLimit({
          ms: milliseconds,
          patience: 1,
          clock: binding.session?.clock ?? this.newClock(),
          refusal: () => failed('the instance at the other end of the link is silent'),
        }),
    });
    open.add(channel);
    if (open.size > this.#maxConnections && !unlinked.dropOldest()) channel.destroy();
    else unlinked.add(channel, address, true);
    if (binding.session === undefined) channel.destroy();
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
 *
 * A peer that does not read, says nothing or lies loses its own connection. A link whose connection is open is replaced or
 * ended only by the instance that made it: a second one with its cluster id is refused with `LLM_FAILED`. All processes are to
 * use one version of this package.
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

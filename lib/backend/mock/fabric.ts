import { checkOptions } from '../../check';
import type { Names } from '../../check';
import type { ListenAddress } from '../../option-text/listen-address';
import { Addresses } from './address-space';
import type { Clock } from './clock';
import { VirtualClock } from './clock';
import type { Link } from './link';
import type { Binding, Connection, Disturbance, Network, Obstacles } from './network';
import { failed } from './refusal';
import type { Session } from './session';
import type { Wire } from './wire';

export interface MemoryNetworkOptions {
  /** How long transfers take, on the clock that the wire was made with. Default: no time. */
  readonly wire?: Wire;
}

const NETWORK_OPTIONS: Names<MemoryNetworkOptions> = { wire: true };

const FIRST_EPHEMERAL_PORT = 32_768;
const LOOPBACK = '127.0.0.1';
const ANY_IPV4 = '0.0.0.0';
const ANY_ADDRESSES = new Set([ANY_IPV4, '::']);

/**
 * The network between mock instances of one process: listeners by ip and port. Every address is local here, so that a
 * cluster of several hosts can be rehearsed under its real addresses.
 */
export class Fabric implements Network {
  /** By port, then by ip. */
  readonly #listeners = new Map<number, Map<string, Binding>>();
  readonly #disturbances = new Map<string, Disturbance>();
  /** @internal Memory addresses of the instances on this network. */
  readonly addresses = new Addresses();
  /** @internal */
  obstacles: Obstacles | undefined;
  readonly wire: Wire | undefined;

  constructor(options: MemoryNetworkOptions = {}) {
    this.wire = checkOptions(options, 'options', NETWORK_OPTIONS).wire as Wire | undefined;
  }

  bind({ ip, boundPort }: ListenAddress, session: Session): Binding {
    const port = boundPort === 0 ? this.#freePort() : boundPort;
    const onPort = this.#listeners.get(port) ?? new Map<string, Binding>();
    const taken = ANY_ADDRESSES.has(ip) ? [...onPort.values()][0] : (onPort.get(ip) ?? anyOf(onPort));
    if (taken !== undefined) {
      const holder =
        taken.session === undefined ? 'an instance whose Initialize failed' : `cluster ${taken.session.clusterId}`;
      throw failed(`cannot listen on ${ip}:${port}: ${taken.ip}:${port} is taken by ${holder}`);
    }
    const binding: Binding = { ip, port, address: `${ip}:${port}`, session };
    onPort.set(ip, binding);
    this.#listeners.set(port, onPort);
    return binding;
  }

  release({ ip, port }: Binding): void {
    const onPort = this.#listeners.get(port);
    onPort?.delete(ip);
    if (onPort?.size === 0) this.#listeners.delete(port);
  }

  dial(from: Session, ip: string, port: number, timeoutMs: number): Connection | Promise<Connection> {
    const connection = this.connect(ip, port, from);
    if (connection.kind === 'accepted' || connection.kind === 'refused') return connection;
    return from.clock.sleep(timeoutMs).then(() => connection);
  }

  /** What a connection attempt would find, without waiting for it. */
  connect(ip: string, port: number, from?: Session): Connection {
    const disturbance = this.#disturbances.get(`${ip}:${port}`);
    if (disturbance !== undefined) return { kind: disturbance };
    const onPort = this.#listeners.get(port);
    // Who connects to the any-address reaches himself.
    const host = ip === ANY_IPV4 ? LOOPBACK : ip;
    const binding = onPort && (onPort.get(host) ?? anyOf(onPort));
    if (from !== undefined && this.obstacles?.between(from.clusterId, binding?.session?.clusterId) === true) {
      return { kind: 'unreachable' };
    }
    return binding === undefined ? { kind: 'refused' } : { kind: 'accepted', peer: binding.session };
  }

  /**
   * Makes `ip:port` silent or unreachable, for connections and for transfers over links that lead there.
   * `undefined` heals it.
   */
  disturb(ip: string, port: number, disturbance: Disturbance | undefined): void {
    const address = `${ip}:${port}`;
    if (disturbance === undefined) this.#disturbances.delete(address);
    else this.#disturbances.set(address, disturbance);
  }

  isDisturbed({ local, far, peerAddress }: Link): boolean {
    if (this.#disturbances.size > 0 && this.#disturbances.has(peerAddress)) return true;
    return this.obstacles?.between(local.clusterId, far.clusterId) === true;
  }

  newClock(): Clock {
    return new VirtualClock();
  }

  #freePort(): number {
    let port = FIRST_EPHEMERAL_PORT;
    while (this.#listeners.has(port)) port += 1;
    return port;
  }
}

function anyOf(onPort: ReadonlyMap<string, Binding>): Binding | undefined {
  return onPort.get(ANY_IPV4) ?? onPort.get('::');
}

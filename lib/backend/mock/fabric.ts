import type { ListenAddress } from '../../option-text/listen-address';
import { Addresses } from './address-space';
import type { Link } from './link';
import { failed } from './refusal';
import type { Session } from './session';

/** What becomes of a connection to an address that a test has made unreachable. */
export type Disturbance =
  /** Accepts and never answers: a stopped process, a wrong service, a peer whose serving threads are all busy. */
  | 'silent'
  /** Packets vanish: a wrong route, a firewall, a host that is gone. */
  | 'unreachable';

/** A listening socket. It outlives its session when an Initialize fails late. */
export interface Binding {
  readonly ip: string;
  readonly port: number;
  /** `ip:port` */
  readonly address: string;
  /** Who answers; `undefined` when the port is taken and nobody does. */
  session: Session | undefined;
}

/** Who of the network cannot reach whom, whatever their addresses are. */
export interface Obstacles {
  /** Whether nothing passes from `from` to `to`; `undefined` stands for whoever else there is. */
  between(from: bigint, to: bigint | undefined): boolean;
}

/** What a connection attempt finds. */
export type Connection =
  | { readonly kind: 'accepted'; readonly session: Session | undefined }
  | { readonly kind: 'refused' }
  | { readonly kind: Disturbance };

const FIRST_EPHEMERAL_PORT = 32_768;
const LOOPBACK = '127.0.0.1';
const ANY_IPV4 = '0.0.0.0';
const ANY_ADDRESSES = new Set([ANY_IPV4, '::']);

/**
 * The network between mock instances of one process: listeners by ip and port. Every address is local here, so that a
 * cluster of several hosts can be rehearsed under its real addresses.
 */
export class Fabric {
  /** By port, then by ip. */
  readonly #listeners = new Map<number, Map<string, Binding>>();
  readonly #disturbances = new Map<string, Disturbance>();
  /** @internal Memory addresses of the instances on this network. */
  readonly addresses = new Addresses();
  /** @internal */
  obstacles: Obstacles | undefined;

  /** As `bind` and `listen` do; port 0 takes a free one that nobody is told. */
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
    return binding === undefined ? { kind: 'refused' } : { kind: 'accepted', session: binding.session };
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

  /** Whether something is in the way of transfers over a link. */
  isDisturbed({ local, peer, peerAddress }: Link): boolean {
    if (this.#disturbances.size > 0 && this.#disturbances.has(peerAddress)) return true;
    return this.obstacles?.between(local.clusterId, peer.clusterId) === true;
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

/** Where instances meet that were not given a fabric of their own. */
export const sharedFabric = new Fabric();

import type { ListenAddress } from '../../option-text/listen-address';
import type { Addresses } from './address-space';
import type { Clock } from './clock';
import type { Link } from './link';
import type { Peer } from './peer';
import type { Session } from './session';
import type { Wire } from './wire';

/** What happens to a connection to an address where something is in the way. */
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

/** What a connection attempt finds. */
export type Connection =
  /** Without a peer the connection was closed at once. */
  | { readonly kind: 'accepted'; readonly peer: Peer | undefined }
  /** `elsewhere` says of a listener that this network cannot reach why that is so. */
  | { readonly kind: 'refused'; readonly elsewhere?: string }
  | { readonly kind: Disturbance };

/** Which clusters of a network cannot reach each other, whatever their addresses are. */
export interface Obstacles {
  /** Whether nothing passes from `from` to `to`; `undefined` stands for any other cluster. */
  between(from: bigint, to: bigint | undefined): boolean;
  /** The same for requests that arrive from another process, which may learn of a change earlier or later. */
  blocks?(from: bigint, to: bigint): boolean;
}

/** Where mock instances find each other. One within a process answers at once, one between processes with promises. */
export interface Network {
  /** What carries the bytes of transfers, when that is to take time. */
  readonly wire?: Wire | undefined;
  /** What a test has put between clusters. */
  readonly obstacles?: Obstacles | undefined;
  /** Memory addresses of the instances, where they are to differ. */
  readonly addresses?: Addresses;
  /** As `bind` and `listen` do; port 0 takes a free one that nothing reports. */
  bind(listen: ListenAddress, session: Session): Binding | Promise<Binding>;
  release(binding: Binding): void;
  /** Makes a connection. Of a disturbance the caller learns when the time is over. */
  dial(from: Session, ip: string, port: number, timeoutMs: number): Connection | Promise<Connection>;
  /** Whether something is in the way of transfers over a link, which would wait for it in vain. */
  isDisturbed(link: Link): boolean;
  /** The time of an instance that was given none. */
  newClock(): Clock;
}

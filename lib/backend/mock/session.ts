import type { ClusterInfo } from '../backend';
import type { AddressSpace } from './address-space';
import { CacheTable } from './cache-table';
import type { Clock } from './clock';
import type { Binding, Fabric } from './fabric';
import { Lane } from './lane';
import type { Link } from './link';
import type { ListenAddress } from '../../option-text/listen-address';
import type { Refusal } from './refusal';
import { RegisteredMemory } from './registered-memory';

/** Which transfer backend serves a session: HCCL, or hixl with its communicator engine or its newer one. */
export type Engine = 'hccl' | 'comm' | 'hixl';

/** What a session is made of. */
export interface SessionConfig {
  readonly clusterId: bigint;
  readonly deviceId: number;
  readonly engine: Engine;
  readonly fabric: Fabric;
  readonly clock: Clock;
  readonly space: AddressSpace;
}

/** The links of a session, by the rules of its transfer backend. Outcomes are in input order; `undefined` is success. */
export interface LinkManager {
  find(clusterId: bigint): Link | undefined;
  /** All links of this side, by the ids under which they are found. */
  readonly all: ReadonlyMap<bigint, Link>;
  link(clusters: readonly ClusterInfo[], timeoutMs: number): Promise<(Refusal | undefined)[]>;
  unlink(clusters: readonly ClusterInfo[], timeoutMs: number, force: boolean): Promise<(Refusal | undefined)[]>;
  /** What SetRole does about links and the listener. */
  setListen(listen: ListenAddress | undefined): void;
  /** Refuses an Unregister that the engine would refuse. */
  checkUnregister(cacheId: bigint): void;
  /** Drops every link on this side only. */
  clear(): void;
}

/** What a successful Initialize makes and Finalize ends. */
export class Session {
  readonly clusterId: bigint;
  readonly deviceId: number;
  readonly engine: Engine;
  readonly fabric: Fabric;
  readonly clock: Clock;
  readonly table = new CacheTable();
  readonly memory: RegisteredMemory;
  /** The library serialises all pushes of an instance. */
  readonly pushLane = new Lane();
  binding: Binding | undefined;
  /** Limit of one transfer; `llm.SyncKvCacheWaitTime`. */
  waitTimeMs = 1000;
  /** False once finalized: peers that still hold a link find nobody. */
  alive = true;

  readonly links: LinkManager;

  constructor(config: SessionConfig, links: (session: Session) => LinkManager) {
    this.clusterId = config.clusterId;
    this.deviceId = config.deviceId;
    this.engine = config.engine;
    this.fabric = config.fabric;
    this.clock = config.clock;
    this.memory = new RegisteredMemory(config.space, { refuseOverlap: config.engine === 'hixl' });
    this.links = links(this);
  }

  /** `ip:port` of the listener; '' without one. */
  get address(): string {
    return this.binding?.address ?? '';
  }

  listen(address: ListenAddress): void {
    this.binding = this.fabric.bind(address, this);
  }

  stopListening(): void {
    if (this.binding !== undefined) this.fabric.release(this.binding);
    this.binding = undefined;
  }

  end(): void {
    this.alive = false;
    this.links.clear();
    this.memory.clear();
    this.stopListening();
  }
}

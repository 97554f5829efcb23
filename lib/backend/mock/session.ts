import { randomUUID } from 'node:crypto';
import { LLMStatusCode } from '../../status';
import type { ClusterInfo } from '../backend';
import type { AddressSpace } from './address-space';
import { CacheTable } from './cache-table';
import type { Clock } from './clock';
import { Lane } from './lane';
import type { Link } from './link';
import { LocalEnd } from './local-end';
import type { MockCall } from './mock-call';
import type { Binding, Network } from './network';
import type { Identity, LinkEnd, Peer } from './peer';
import type { ListenAddress } from '../../option-text/listen-address';
import { failed, Refusal } from './refusal';
import { RegisteredMemory } from './registered-memory';
import { within } from './within';

/** Which transfer backend serves a session: HCCL, or hixl with its communicator engine or its newer one. */
export type Engine = 'hccl' | 'comm' | 'hixl';

/** What a session is made of. */
export interface SessionConfig {
  readonly clusterId: bigint;
  readonly deviceId: number;
  readonly engine: Engine;
  readonly fabric: Network;
  readonly clock: Clock;
  readonly space: AddressSpace;
}

/** The links of a session, by the rules of its transfer backend. Outcomes are in input order; `undefined` is success. */
export interface LinkManager {
  /** What a peer learns of this side before it links. */
  readonly description: Pick<Identity, 'resource' | 'generatedFrom'>;
  /** Starts the listener, where there is to be one. */
  start(): void | Promise<void>;
  find(clusterId: bigint): Link | undefined;
  /** All links of this side, by the ids under which they are found. */
  readonly all: ReadonlyMap<bigint, Link>;
  /**
   * Resolves when the table of links is not locked; nothing where it is not. A look-up of a link waits for it.
   * @param call can be withdrawn while it waits
   */
  unlocked(call?: MockCall): void | Promise<void>;
  link(clusters: readonly ClusterInfo[], timeoutMs: number): Promise<(Refusal | undefined)[]>;
  unlink(clusters: readonly ClusterInfo[], timeoutMs: number, force: boolean): Promise<(Refusal | undefined)[]>;
  /** What SetRole does about links and the listener. */
  setListen(listen: ListenAddress | undefined): void | Promise<void>;
  /** What a peer asks before it links; see {@link Peer.prepare}. */
  prepare(peer: Identity, forced: boolean): Refusal | undefined | Promise<Refusal | undefined>;
  /** Stores this side of a link that a peer has made, where the engine has two. */
  accept(peer: Identity, far: LinkEnd): void | Promise<void>;
  /** What a peer asks that unlinks without force. */
  unlinkFor(peer: bigint): void | Promise<void>;
  /** Refuses an Unregister that the engine would refuse. */
  checkUnregister(cacheId: bigint): void;
  /** Drops every link on this side only. */
  clear(): void;
}

/** What has gone over a connection to another process. */
export interface Traffic {
  /** The same at both ends. */
  readonly name: string;
  /** Messages. */
  readonly sent: number;
  readonly received: number;
  /** Whether some of what was sent has not left the process. */
  readonly isSending: boolean;
}

/** A connection to another process. */
export interface OpenConnection {
  readonly traffic: Traffic;
  /** Ends it without a word. */
  destroy(): void;
  /** What a test has put between clusters has changed. */
  obstruct(): void;
}

/** What a successful Initialize makes and Finalize ends. To others of its process it is the peer that answers. */
export class Session implements Peer {
  readonly instance = randomUUID();
  readonly clusterId: bigint;
  readonly deviceId: number;
  readonly engine: Engine;
  readonly fabric: Network;
  readonly clock: Clock;
  readonly table = new CacheTable();
  readonly memory: RegisteredMemory;
  /** Connections to other processes, which end with the session. */
  readonly connections = new Set<OpenConnection>();
  /** Ends of links that others of this process have made, and have not closed. */
  readonly ends = new Set<LinkEnd>();
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

  get identity(): Identity {
    const { instance, clusterId, engine, deviceId, binding, address } = this;
    const { resource, generatedFrom } = this.links.description;
    return { instance, clusterId, engine, deviceId, host: binding?.ip ?? '', address, resource, generatedFrom };
  }

  prepare(from: Identity, forced: boolean, timeoutMs: number): Refusal | undefined | Promise<Refusal | undefined> {
    const preparing = this.links.prepare(from, forced);
    return preparing instanceof Promise ? this.#within(preparing, timeoutMs) : preparing;
  }

  commit(from: Session, timeoutMs: number): LinkEnd | Promise<LinkEnd> {
    const accepting = this.links.accept(from.identity, new LocalEnd(from));
    return accepting === undefined ? this.#newEnd() : this.#within(accepting, timeoutMs).then(() => this.#newEnd());
  }

  /** Whether this side has a link, or a peer has one to it: hixl does not report that link to this side, but the mock knows the peer's end. */
  get mayBeLinked(): boolean {
    if (this.links.all.size > 0) return true;
    return this.engine !== 'hccl' && (this.ends.size > 0 || this.connections.size > 0);
  }

  unlink(from: bigint, timeoutMs: number): void | Promise<void> {
    const unlinking = this.links.unlinkFor(from);
    return unlinking instanceof Promise ? this.#within(unlinking, timeoutMs) : unlinking;
  }

  close(): void {
    // There is no connection in one process.
  }

  listen(address: ListenAddress): void | Promise<void> {
    this.checkAlive();
    const binding = this.fabric.bind(address, this);
    if (!(binding instanceof Promise)) {
      this.binding = binding;
      return undefined;
    }
    return binding.then((bound) => {
      if (!this.alive) this.fabric.release(bound);
      this.checkAlive();
      this.binding = bound;
    });
  }

  /** After each wait of a call that makes something which only the end of the session ends. */
  checkAlive(): void {
    if (!this.alive) throw failed(`cluster ${this.clusterId} was finalized, or it died, before it listened`);
  }

  #newEnd(): LinkEnd {
    const end = new LocalEnd(this);
    this.ends.add(end);
    return end;
  }

  /** What a peer waits for, and it does not wait longer than its call allows. */
  async #within<T>(answer: Promise<T>, timeoutMs: number): Promise<T> {
    const result = await within(
      this.clock,
      timeoutMs,
      answer,
      () =>
        new Refusal(
          LLMStatusCode.LLM_TIMEOUT,
          `cluster ${this.clusterId} did not answer within ${timeoutMs} ms: a transfer of it has its links locked`,
        ),
    );
    if (!this.alive) throw failed(`cluster ${this.clusterId} was finalized, or it died, before it answered`);
    return result;
  }

  stopListening(): void {
    if (this.binding !== undefined) this.fabric.release(this.binding);
    this.binding = undefined;
  }

  end(): void {
    this.alive = false;
    this.links.clear();
    for (const connection of this.connections) connection.destroy();
    this.memory.clear();
    this.fabric.wire?.drop(this.clusterId);
    this.stopListening();
  }
}

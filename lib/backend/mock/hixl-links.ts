import { LLMStatusCode } from '../../status';
import type { ClusterInfo } from '../backend';
import { Link } from './link';
import { LinkTable } from './link-table';
import type { ListenAddress } from '../../option-text/listen-address';
import type { MockCall } from './mock-call';
import { failed, invalid, Refusal, refusedBy } from './refusal';
import type { Identity, Peer } from './peer';
import type { LinkManager, Session } from './session';
import { settle } from './settle';

/** How long the engine waits for a peer that is to disconnect. */
const DISCONNECT_MS = 30_000;

/**
 * Links of the transfer backend hixl. A link serves one direction and is stored on this side only, under the id that
 * the caller gave; whether one exists is decided by the address.
 */
export class HixlLinks implements LinkManager {
  readonly #session: Session;
  readonly #links = new LinkTable();
  /** Addresses that this side is connected to; one of them may be orphaned when its id was linked elsewhere. */
  readonly #connected = new Set<string>();
  readonly #listen: ListenAddress;

  constructor(session: Session, listen: ListenAddress) {
    this.#session = session;
    this.#listen = listen;
  }

  /** Links are made of addresses alone. */
  get description(): Pick<Identity, 'resource' | 'generatedFrom'> {
    return { resource: undefined, generatedFrom: undefined };
  }

  start(): void | Promise<void> {
    // As in the library, port 0 is no listener here; it looks at the number before it is cut to 16 bits.
    return this.#listen.port === 0 ? undefined : this.#session.listen(this.#listen);
  }

  get all(): ReadonlyMap<bigint, Link> {
    return this.#links.all;
  }

  unlocked(call?: MockCall): void | Promise<void> {
    return this.#links.unlocked(call);
  }

  find(clusterId: bigint): Link | undefined {
    return this.all.get(clusterId);
  }

  async link(clusters: readonly ClusterInfo[], timeoutMs: number): Promise<(Refusal | undefined)[]> {
    return Promise.all(clusters.map((cluster) => settle(() => this.#linkOne(cluster, timeoutMs))));
  }

  async unlink(clusters: readonly ClusterInfo[]): Promise<(Refusal | undefined)[]> {
    return Promise.all(clusters.map((cluster) => settle(() => this.#unlinkOne(cluster.remoteClusterId))));
  }

  setListen(listen: ListenAddress | undefined): void {
    if (listen === undefined || (listen.ip === this.#listen.ip && listen.port === this.#listen.port)) return;
    throw new Refusal(
      LLMStatusCode.LLM_FEATURE_NOT_ENABLED,
      `${listen.ip}:${listen.port} differs from ${this.#listen.ip}:${this.#listen.port}, and the transfer backend hixl ` +
        'cannot move its listener',
    );
  }

  prepare(): undefined {
    // The other side does not take part.
  }

  accept(): void {
    // One way only: nothing is stored for the side that was linked to.
  }

  unlinkFor(): void {
    // Nor is there anything to drop.
  }

  /** The newer engine keeps its memory as long as this side has connections; the communicator engine does not care. */
  checkUnregister(cacheId: bigint): void {
    if (this.#session.engine === 'hixl' && this.#connected.size > 0 && this.#session.memory.owns(cacheId)) {
      throw failed(`the engine keeps its memory while it is connected to ${[...this.#connected].join(', ')}`);
    }
  }

  clear(): void {
    this.#links.clear();
    this.#connected.clear();
  }

  async #linkOne(cluster: ClusterInfo, timeoutMs: number): Promise<void> {
    const [remote] = cluster.remoteIpInfos;
    if (remote === undefined || cluster.remoteIpInfos.length !== 1) {
      throw invalid(`${cluster.remoteIpInfos.length} remote addresses given, exactly one is needed`);
    }
    const address = `${remote.ip}:${remote.port}`;
    if (address === `${this.#listen.ip}:${this.#listen.port}`)
      throw invalid(`${address} is this instance's own address`);
    if (this.#connected.has(address)) {
      throw new Refusal(LLMStatusCode.LLM_ALREADY_LINK, `this instance is connected to ${address} already`);
    }
    const peer = await this.#connect(remote.ip, remote.port, timeoutMs);
    try {
      this.#checkPeer(peer.identity, address);
      const far = await peer.commit(this.#session, timeoutMs);
      this.#connected.add(address);
      // The link that an id had before stays connected, and orphaned.
      await this.#links.put(cluster.remoteClusterId, new Link(this.#session, far, address));
    } catch (error) {
      peer.close();
      throw error;
    }
  }

  #checkPeer({ engine, deviceId, host }: Identity, address: string): void {
    if (engine !== this.#session.engine) {
      throw failed(`the engine of ${address} is ${engine}, the one of this side ${this.#session.engine}`);
    }
    if (engine === 'comm' && deviceId === this.#session.deviceId && host === this.#listen.ip) {
      throw invalid(`both ends use device ${deviceId} of the same host`);
    }
  }

  async #connect(ip: string, port: number, timeoutMs: number): Promise<Peer> {
    if (ip === '0.0.0.0' && this.#session.engine === 'comm')
      throw failed('the communicator engine needs a real address');
    const connection = await this.#session.fabric.dial(this.#session, ip, port, timeoutMs);
    if (connection.kind === 'accepted' && connection.peer !== undefined) return connection.peer;
    if (connection.kind === 'accepted' && this.#session.engine === 'hixl') {
      // The engine of an Initialize that failed late still answers, with a table of caches that is nowhere.
      throw invalid(`${ip}:${port} is held by an instance whose Initialize failed, and that has no caches to offer`);
    }
    if (connection.kind === 'accepted' || connection.kind === 'refused')
      throw failed(refusedBy(`nobody answers on ${ip}:${port}`, connection));
    throw new Refusal(LLMStatusCode.LLM_TIMEOUT, `${ip}:${port} does not answer within ${timeoutMs} ms`);
  }

  async #unlinkOne(clusterId: bigint): Promise<void> {
    let failure: Refusal | undefined;
    await this.#links.drop(clusterId, async (link) => {
      failure = await this.#disconnect(link);
      this.#connected.delete(link.peerAddress);
    });
    // As in the library the link is gone all the same.
    if (failure !== undefined) throw failure;
  }

  /** The engine asks its peer, and waits for one that does not answer as long as it likes, whatever the call allows. */
  async #disconnect(link: Link): Promise<Refusal | undefined> {
    const { fabric, clock } = this.#session;
    if (!fabric.isDisturbed(link)) return undefined;
    await clock.sleep(DISCONNECT_MS);
    return new Refusal(
      LLMStatusCode.LLM_TIMEOUT,
      `${link.peerAddress} did not answer within the ${DISCONNECT_MS} ms that the engine gives a peer to disconnect`,
      { remedy: 'The link is gone on this side: go on.', recovery: 'none' },
    );
  }
}

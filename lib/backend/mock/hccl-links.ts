import { shortList } from '../../short-list';
import { LLMStatusCode } from '../../status';
import type { ClusterInfo, IpInfo } from '../backend';
import type { CommResource } from '../../option-text/comm-resource';
import { checkCommResources, generateCommResource } from '../../option-text/comm-resource';
import { Link } from './link';
import { LinkTable } from './link-table';
import type { ListenAddress } from '../../option-text/listen-address';
import type { MockCall } from './mock-call';
import { failed, invalid, Refusal, refusedBy } from './refusal';
import type { Identity, LinkEnd, Peer } from './peer';
import type { LinkManager, Session } from './session';
import { settle } from './settle';

/**
 * Links of the default backend. One link serves both directions; it is stored on both sides, each time under the id
 * that the other side declares, whatever id the caller gave.
 */
export class HcclLinks implements LinkManager {
  readonly #session: Session;
  readonly #links = new LinkTable();
  readonly #firstListen: ListenAddress | undefined;
  /** What describes this side to a peer; SetRole never makes it, a link attempt with one local ip does. */
  #resource: CommResource | undefined;
  /** The host address that the resource was generated from; a given resource has none. */
  #generatedFrom: string | undefined;
  /** As the library compares it: the number in the option, before it is cut to 16 bits. */
  #listenPort: number | undefined;

  constructor(session: Session, listen: ListenAddress | undefined, localCommRes: string | undefined) {
    this.#session = session;
    if (localCommRes !== undefined) this.#resource = { text: localCommRes, deviceId: session.deviceId };
    else if (listen !== undefined) this.#generateResource(listen.ip);
    this.#firstListen = listen;
  }

  get description(): Pick<Identity, 'resource' | 'generatedFrom'> {
    return { resource: this.#resource, generatedFrom: this.#generatedFrom };
  }

  start(): void | Promise<void> {
    if (this.#firstListen !== undefined) return this.#startListening(this.#firstListen);
    return undefined;
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
    await this.#links.unlocked();
    // The clusters of one call are linked at the same time: none sees what another one makes.
    const forced = clusters.map((cluster) => !this.all.has(cluster.remoteClusterId));
    return Promise.all(
      clusters.map((cluster, i) => settle(() => this.#linkOne(cluster, timeoutMs, forced[i] ?? true))),
    );
  }

  async unlink(clusters: readonly ClusterInfo[], timeoutMs: number, force: boolean): Promise<(Refusal | undefined)[]> {
    return Promise.all(clusters.map((cluster) => settle(() => this.#unlinkOne(cluster, timeoutMs, force))));
  }

  setListen(listen: ListenAddress | undefined): void | Promise<void> {
    const waiting = this.#links.unlocked();
    return waiting === undefined ? this.#moveListener(listen) : waiting.then(() => this.#moveListener(listen));
  }

  #moveListener(listen: ListenAddress | undefined): void | Promise<void> {
    if (this.all.size > 0) {
      throw new Refusal(
        LLMStatusCode.LLM_EXIST_LINK,
        `links to ${shortList(Array.from(this.all.keys(), (id) => `cluster ${id}`)).join(', ')} exist`,
      );
    }
    if (listen !== undefined && listen.port === this.#listenPort) return undefined;
    // As in the library, the old listener is gone even when the new one cannot be started.
    this.#session.stopListening();
    this.#listenPort = undefined;
    return listen === undefined ? undefined : this.#startListening(listen);
  }

  checkUnregister(): void {
    // HCCL lets go of memory at any time; links that were made with it fail afterwards.
  }

  clear(): void {
    this.#links.clear();
  }

  #startListening(listen: ListenAddress): void | Promise<void> {
    const listening = this.#session.listen(listen);
    if (listening === undefined) {
      this.#listenPort = listen.port;
      return undefined;
    }
    return listening.then(() => {
      this.#listenPort = listen.port;
    });
  }

  #generateResource(serverIp: string): void {
    this.#resource = generateCommResource(serverIp, this.#session.deviceId);
    this.#generatedFrom = serverIp;
  }

  async #linkOne(cluster: ClusterInfo, timeoutMs: number, forced: boolean): Promise<void> {
    const [remote] = cluster.remoteIpInfos;
    if (remote === undefined || cluster.remoteIpInfos.length !== 1) {
      throw invalid(`${cluster.remoteIpInfos.length} remote addresses given, exactly one is needed`);
    }
    this.#ensureResource(cluster.localIpInfos);
    const peer = await this.#connect(remote, timeoutMs, LLMStatusCode.LLM_LINK_FAILED);
    try {
      await this.#establish(peer, `${remote.ip}:${remote.port}`, timeoutMs, forced);
    } catch (error) {
      peer.close();
      throw error;
    }
  }

  /** In one process nothing comes between the steps: what they find is what the link is made of. */
  async #establish(peer: Peer, address: string, timeoutMs: number, forced: boolean): Promise<void> {
    const { identity } = peer;
    if (identity.engine !== 'hccl') {
      throw failed(`what listens on ${address} uses the transfer backend hixl, this side does not`);
    }
    // Both sides prepare; the acceptor's failure is the one that is reported.
    const preparing = peer.prepare(this.#session.identity, forced, timeoutMs);
    const theirs = preparing instanceof Promise ? await preparing : preparing;
    const preparingMine = this.prepare(identity, forced);
    const mine = preparingMine instanceof Promise ? await preparingMine : preparingMine;
    if (theirs !== undefined) throw theirs;
    if (mine?.statusCode === LLMStatusCode.LLM_ALREADY_LINK) throw mine;
    if (mine !== undefined || this.#sharesDevice(identity)) {
      // One side waits for a partner that does not come, in whole seconds.
      await this.#session.clock.sleep(Math.ceil(timeoutMs / 1000) * 1000);
      throw new Refusal(
        LLMStatusCode.LLM_TIMEOUT,
        mine === undefined
          ? `both ends use device ${this.#session.deviceId} of the same host`
          : `the peer waited in vain for this side: ${mine.detail}`,
      );
    }
    const committing = peer.commit(this.#session, timeoutMs);
    const far = committing instanceof Promise ? await committing : committing;
    // 100,000 links to 1,000 peers are to share 1,000 texts; a peer that listens on any address is dialled under another one.
    const storing = this.#store(identity.clusterId, far, address === identity.address ? identity.address : address);
    if (storing !== undefined) await storing;
  }

  accept(peer: Identity, far: LinkEnd): void | Promise<void> {
    return this.#store(peer.clusterId, far, peer.address);
  }

  #ensureResource(localIpInfos: readonly IpInfo[]): void {
    if (this.#resource !== undefined) return;
    const [local] = localIpInfos;
    if (local === undefined || localIpInfos.length !== 1) {
      throw invalid(
        `${localIpInfos.length} local addresses given; exactly one is needed where neither llm.ListenIpInfo nor ` +
          'llm.LocalCommRes was given to init',
      );
    }
    this.#generateResource(local.ip);
  }

  async #connect({ ip, port }: IpInfo, timeoutMs: number, refusedStatus: number): Promise<Peer> {
    const connection = await this.#session.fabric.dial(this.#session, ip, port, timeoutMs);
    switch (connection.kind) {
      case 'accepted':
        if (connection.peer === undefined) throw failed(`${ip}:${port} closed the connection`);
        return connection.peer;
      case 'refused':
        throw new Refusal(refusedStatus, refusedBy(`nobody listens on ${ip}:${port}`, connection));
      default:
        throw new Refusal(
          LLMStatusCode.LLM_TIMEOUT,
          `${ip}:${port} ${connection.kind === 'silent' ? 'accepts and does not answer' : 'cannot be reached'} ` +
            `within ${timeoutMs} ms`,
        );
    }
  }

  /** What one side checks before it stores a link to `peer`. */
  prepare(peer: Identity, forced: boolean): Refusal | undefined | Promise<Refusal | undefined> {
    const unfit = this.#checkResources(peer);
    if (unfit !== undefined) return unfit;
    const ready = forced ? this.#links.drop(peer.clusterId) : this.#links.unlocked();
    return ready === undefined ? this.#checkUnlinked(peer) : ready.then(() => this.#checkUnlinked(peer));
  }

  #checkResources(peer: Identity): Refusal | undefined {
    const { clusterId } = this.#session;
    if (this.#resource === undefined || peer.resource === undefined) {
      return invalid(
        `cluster ${this.#resource === undefined ? clusterId : peer.clusterId} got its listener from SetRole and cannot ` +
          'describe itself before it has attempted a link with one local address, or is initialised with a listen address',
      );
    }
    // Generated texts are well-formed; reading two JSON texts per side would be most of a link's cost.
    const generated = this.#generatedFrom !== undefined && peer.generatedFrom !== undefined;
    const broken = generated ? undefined : checkCommResources(this.#resource, peer.resource);
    return broken === undefined ? undefined : invalid(broken);
  }

  #checkUnlinked(peer: Identity): Refusal | undefined {
    if (!this.all.has(peer.clusterId)) return undefined;
    return new Refusal(
      LLMStatusCode.LLM_ALREADY_LINK,
      `cluster ${this.#session.clusterId} is linked to cluster ${peer.clusterId} already`,
    );
  }

  /** Two ends that describe themselves alike make a table of one rank, and wait for each other. */
  #sharesDevice(peer: Identity): boolean {
    const sameHost = this.#generatedFrom !== undefined && this.#generatedFrom === peer.generatedFrom;
    const { instance, deviceId } = this.#session;
    return instance === peer.instance || (sameHost && deviceId === peer.deviceId);
  }

  async #unlinkOne(cluster: ClusterInfo, timeoutMs: number, force: boolean): Promise<void> {
    const [remote] = cluster.remoteIpInfos;
    let peer: Peer | undefined;
    if (!force) {
      if (remote === undefined || cluster.remoteIpInfos.length !== 1) {
        throw invalid(`${cluster.remoteIpInfos.length} remote addresses given, exactly one is needed without force`);
      }
      peer = await this.#connect(remote, timeoutMs, LLMStatusCode.LLM_UNLINK_FAILED);
    }
    try {
      await this.unlinkFor(cluster.remoteClusterId);
      if (peer === undefined) return;
      if (peer.identity.engine !== 'hccl') throw failed('the peer uses the transfer backend hixl, this side does not');
      // The peer goes by the id of the one that asks, not by the link that the asker meant.
      await peer.unlink(this.#session.clusterId, timeoutMs);
    } finally {
      peer?.close();
    }
  }

  unlinkFor(peerId: bigint): void | Promise<void> {
    return this.#links.drop(peerId);
  }

  #store(peerId: bigint, far: LinkEnd, address: string): void | Promise<void> {
    return this.#links.replace(peerId, new Link(this.#session, far, address));
  }
}

import '../disposable';
import { inspect } from 'node:util';
import type { InspectOptionsStylized } from 'node:util';
import type { BackendFactory, ClusterInfo } from '../backend/backend';
import type { Clock } from '../backend/mock/clock';
import { Fabric } from '../backend/mock/fabric';
import { LocalEnd } from '../backend/mock/local-end';
import { failed } from '../backend/mock/refusal';
import type { Network, Obstacles } from '../backend/mock/network';
import type { Refusal } from '../backend/mock/refusal';
import type { Session } from '../backend/mock/session';
import type { Wire } from '../backend/mock/wire';
import { outOfRange } from '../check';
import { inspected } from '../inspection';
import { Random } from '../random';
import { shortList } from '../short-list';
import { CallLog } from './call-log';
import { recordInFlight } from './call-page';
import type { CallRecord } from './call-record';
import { TRANSFERS } from './fault';
import type { Fault } from './fault';
import { FabricNode } from './fabric-node';
import type { NodeRules } from './fabric-node';
import { FaultList } from './fault-list';
import type { FaultSource, InjectedFault } from './fault-list';
import { whatIsLeft } from './idle';
import type { NodeCall } from './node-call';
import type { Surroundings } from './node-calls';
import { clusterIdOf } from './node-ref';
import type { NodeRef } from './node-ref';
import { KnownNodes, namedNodes } from './known-nodes';
import { Partitions } from './partitions';
import { breaks, MAX_ADDRESSES } from './strict';
import { describeNode, topologyOf } from './topology';
import type { Topology } from './topology';

/** What a test fabric is made with. `strict` and `seed` are read when they are needed first: they may come from elsewhere. */
export interface TestFabricSettings<C extends Clock> {
  readonly clock: C;
  readonly strict: boolean;
  readonly seed: number;
  readonly history: number;
  readonly recordMemory: boolean;
  readonly wire?: Wire | undefined;
  /** What it shares with the fabrics of other processes, when it does. */
  readonly shared?: SharedSurroundings;
}

/** What the fabrics of several processes have in common. */
export interface SharedSurroundings {
  readonly network: Network;
  readonly faults: FaultSource;
  readonly obstacles: Obstacles;
  /** Lets the others know of a node. @returns why it cannot take part; never rejects */
  announce(node: bigint): Promise<Refusal | undefined>;
}

/**
 * A separate network of mock instances in this process: what is made with its {@link backend} sees nothing else, so that
 * tests run side by side. It fails on request and records what was done on it.
 *
 * A node is a cluster id. Where a method takes one, an `LLMDataDist` will do.
 *
 * @example
 * ```ts
 * const fabric = createFabric();
 * const prompt = new LLMDataDist(LLMRole.PROMPT, 1n, { backend: fabric.backend });
 * fabric.inject({ op: 'pullBlocks', peer: prompt, skip: 2, times: 1, status: 'LLM_TIMEOUT' });
 * ```
 */
export class TestFabric<C extends Clock = Clock> implements Disposable {
  /** Makes the backend of an instance: `new LLMDataDist(role, id, { backend: fabric.backend })`. */
  readonly backend: BackendFactory;
  /** What waits on this fabric waits on this clock. */
  readonly clock: C;
  readonly #settings: TestFabricSettings<C>;
  readonly #network: Network;
  readonly #obstacles: Obstacles;
  readonly #faults = new FaultList();
  readonly #partitions = new Partitions();
  readonly #log: CallLog;
  readonly #nodes = new Set<FabricNode>();
  readonly #known = new KnownNodes();
  #isClosed = false;

  /** @internal */
  constructor(settings: TestFabricSettings<C>) {
    const { clock, history, shared } = settings;
    this.#settings = settings;
    this.clock = clock;
    this.#log = new CallLog(history);
    this.#obstacles = shared?.obstacles ?? this.#partitions;
    this.#network = shared?.network ?? this.#newNetwork();
    const surroundings = this.#surroundings();
    const rules = this.#rules();
    this.backend = (clusterId, role) => {
      const node = new FabricNode(clusterId, role, this.#network, surroundings, rules);
      if (this.#isClosed) node.kill(closed);
      else void this.#join(node);
      return node;
    };
  }

  /**
   * Makes calls go wrong. Faults are looked through in the order of injection; the first one that matches a call, and has
   * neither calls to let pass nor all of its hits behind it, hits that call, and no other one does.
   *
   * @throws TypeError, RangeError for a fault that makes no sense: effects that exclude each other, or none, or a `peer` of
   *   an operation that has none
   */
  inject(fault: Fault): InjectedFault {
    return this.#faults.inject(fault);
  }

  /**
   * The node's process dies, as by `kill -9`: its listener and its memory are gone. Its own calls, those in flight too,
   * reject with `LLM_FAILED`; `finalize()` succeeds, since there is nothing left to end. Its peers keep their links, and are
   * without notice: a transfer fails with `LLM_FAILED`, one that is under way at once, an unlink without force with
   * `LLM_UNLINK_FAILED`, and one with force succeeds.
   *
   * @throws RangeError for a node of which no instance was made
   */
  kill(node: NodeRef): void {
    this.applyKill(this.#known.check(node));
  }

  /** @internal As {@link kill}, of a node that may be in another process. */
  applyKill(id: bigint): void {
    this.#known.kill(id);
    const victims = [...this.#nodes].filter((each) => each.node === id && !each.calls.isDead);
    // Those on the way to it, before the links to it are forgotten on its side.
    const broken = [...this.#nodes].flatMap((each) =>
      each.node === id ? [] : [{ each, calls: each.calls.inFlight.filter((call) => isOnTheWay(each, call, id)) }],
    );
    for (const victim of victims) victim.kill();
    this.#network.wire?.drop(id);
    for (const { each, calls } of broken) {
      each.calls.interrupt(calls, failed(`cluster ${id} was killed while the transfer was under way`));
    }
  }

  /**
   * The node's process may be started again: a new `LLMDataDist` of its id can be initialised. Peers unlink by force and link
   * again.
   *
   * @throws RangeError for a node that was not killed
   */
  restart(node: NodeRef): void {
    this.#known.restart(node);
  }

  /** @internal Which nodes were killed, wherever they are, and which were not. */
  applyDown(down: ReadonlySet<bigint>): void {
    for (const node of this.#known.down) if (!down.has(node)) this.#known.revive(node);
    for (const node of down) this.#known.kill(node);
  }

  /**
   * Nothing passes between two nodes until they are healed: links and unlinks without force end with `LLM_TIMEOUT` after
   * their timeout, transfers after `llm.SyncKvCacheWaitTime`. Links stay.
   *
   * @throws RangeError where both are the same
   */
  partition(a: NodeRef, b: NodeRef): void {
    const [one, other] = checkPair(a, b);
    this.#partitions.part(one, other);
    this.#network.wire?.drop(one, other);
  }

  /** Nothing passes between the node and any other one, as in {@link partition}; it may be made later. */
  isolate(node: NodeRef): void {
    const id = clusterIdOf(node, 'node');
    this.#partitions.isolate(id);
    this.#network.wire?.drop(id);
  }

  /**
   * Undoes {@link partition} and {@link isolate}: all of them; or those of node `a`; or what is between `a` and `b`, also where
   * one of them is isolated, which it stays for the others.
   */
  heal(a?: NodeRef, b?: NodeRef): void {
    if (a === undefined && b === undefined) this.#partitions.healAll();
    else if (b === undefined) this.#partitions.healNode(clusterIdOf(a, 'a'));
    else this.#partitions.healPair(...checkPair(a, b));
  }

  /**
   * The calls that reached a backend of this fabric, in the order in which they began: the last ones of them, without reads
   * and writes of memory regions that no fault hits, unless the fabric was made with `recordMemory`.
   */
  get history(): readonly CallRecord[] {
    return this.#log.records(this.#inFlight());
  }

  /** Nodes, links, caches and memory as they are now. */
  topology(): Topology {
    return topologyOf(Array.from(this.#nodes, (node) => describeNode(node, this.#obstacles)));
  }

  /**
   * @throws Error that names the faults which are not removed and have not hit `times` times, or not once where that is not
   *   given
   */
  assertNoPendingFaults(): void {
    reportPending(this.#faults.pending());
  }

  /**
   * Whether the tests have cleaned up: nothing is in flight, linked, registered or allocated. What an instance that
   * listens has unregistered after it was linked stays registered until it is finalized; see `unregisterCache`.
   *
   * @throws Error that names what there is, node by node
   */
  assertIdle(): void {
    reportLeft(this.whatIsLeft());
  }

  /** @internal What {@link assertIdle} names. */
  whatIsLeft(): string[] {
    return whatIsLeft(this.topology(), this.#inFlight().map(recordInFlight));
  }

  /** @internal What may be asked of the instances one by one. */
  get nodes(): ReadonlySet<FabricNode> {
    return this.#nodes;
  }

  /**
   * Ends a test: every node dies, as in {@link kill}. Nothing is left in flight, linked, registered or allocated, and there is
   * no warning of instances that were not finalized. `using fabric = createFabric()` does it at the end of the block.
   *
   * It is for good: every call of its instances, also of those that are made later, rejects with `LLM_FAILED` and says that
   * the fabric was closed. `finalize()` succeeds.
   */
  close(): void {
    this.#isClosed = true;
    for (const node of this.#known.all) {
      this.#known.kill(node);
      this.#network.wire?.drop(node);
    }
    for (const node of this.#nodes) if (!node.calls.isBuried) node.kill(closed);
  }

  /** {@link close} */
  [Symbol.dispose](): void {
    this.close();
  }

  /** @internal */
  [inspect.custom](depth: number | null, options: InspectOptionsStylized): string {
    const nodes = this.topology().nodes.map(({ node, state }) => `cluster ${node} (${state})`);
    return inspected('TestFabric', { nodes: shortList(nodes), faults: this.#faults.count }, depth, options);
  }

  #inFlight(): NodeCall[] {
    return [...this.#nodes].flatMap(({ calls }) => calls.inFlight);
  }

  #newNetwork(): Network {
    const { wire } = this.#settings;
    const fabric = new Fabric(wire === undefined ? {} : { wire });
    fabric.obstacles = this.#obstacles;
    return fabric;
  }

  #surroundings(): Surroundings {
    const settings = this.#settings;
    let random: Random | undefined;
    return {
      clock: settings.clock,
      faults: settings.shared?.faults ?? this.#faults,
      log: this.#log,
      recordMemory: settings.recordMemory,
      get random() {
        return (random ??= new Random(settings.seed));
      },
    };
  }

  /** A new instance takes the place of those of its node that are over. */
  #join(node: FabricNode): Promise<Refusal | undefined> | undefined {
    for (const each of this.#nodes) {
      const isOver = each.session === undefined && each.space.regions.length === 0 && each.calls.inFlight.length === 0;
      if (each !== node && each.node === node.node && isOver) this.#nodes.delete(each);
    }
    this.#nodes.add(node);
    this.#known.add(node.node);
    return this.#settings.shared?.announce(node.node);
  }

  #rules(): NodeRules {
    const ifStrict = (check: () => Refusal | undefined) => (this.#settings.strict ? check() : undefined);
    return {
      isDown: (node) => this.#known.isDown(node),
      join: (node) => this.#join(node),
      checkRegistration: (node, addresses) => ifStrict(() => this.#checkRegistration(node, addresses)),
      checkFinalize: (node) => ifStrict(() => this.#checkFinalize(node)),
      checkLink: (node, clusters) => ifStrict(() => this.#checkLink(node, clusters)),
      checkBareKey: ({ clusterId, cacheId }) =>
        ifStrict(() =>
          breaks('key-with-layout', `the key of cache ${cacheId} of cluster ${clusterId} carries no layout`),
        ),
      checkRoleSwitch: (node) => ifStrict(() => this.#checkRoleSwitch(node)),
    };
  }

  #checkRegistration(node: FabricNode, addresses: number): Refusal | undefined {
    const peers = this.#linkedWith(node);
    if (peers.length > 0) return breaks('register-before-link', `a cache is registered while ${linked(peers)}`);
    const present = node.session?.table.entries.reduce((sum, { tensors }) => sum + tensors.length, 0) ?? 0;
    if (present + addresses <= MAX_ADDRESSES) return undefined;
    return breaks('address-count', `with this cache the instance would have ${present + addresses} addresses`);
  }

  #checkFinalize(node: FabricNode): Refusal | undefined {
    for (const each of this.#nodes) {
      const call = each.calls.inFlight.find((one) => each !== node && isTransferWith(each, one, node.node));
      if (call !== undefined) {
        const { operation } = call;
        return breaks(
          'finalize-alone',
          `cluster ${node.node} is finalized during a ${operation} of cluster ${each.node}`,
          'The instance has ended all the same, as a process does: let its peers end their transfers and unlink first.',
        );
      }
    }
    return undefined;
  }

  /** Another node of the same id that is linked with a peer which is to be linked. */
  #checkLink(node: FabricNode, clusters: readonly ClusterInfo[]): Refusal | undefined {
    const namesakes = [...this.#nodes].filter((each) => each !== node && each.node === node.node);
    if (namesakes.length === 0) return undefined;
    for (const { remoteIpInfos } of clusters) {
      const addresses = remoteIpInfos.map(({ ip, port }) => `${ip}:${port}`);
      const peer = [...this.#nodes].find(({ session }) => addresses.includes(session?.address ?? '-'));
      if (peer === undefined || !namesakes.some((each) => areLinked(each, peer))) continue;
      const problem = `another node of cluster ${node.node} is linked with cluster ${peer.node} at ${addresses.join()}`;
      return breaks('unique-cluster-id', problem);
    }
    return undefined;
  }

  #checkRoleSwitch(node: FabricNode): Refusal | undefined {
    // Of its own links the default backend says so itself.
    if (node.session?.engine === 'hccl' && node.session.links.all.size > 0) return undefined;
    const peers = this.#linkedWith(node);
    return peers.length === 0 ? undefined : breaks('switch-unlinked', `the role is switched while ${linked(peers)}`);
  }

  /** The nodes that it has links to, or that have links to it. */
  #linkedWith({ session }: FabricNode): bigint[] {
    if (session === undefined) return [];
    const peers = new Set(session.links.all.keys());
    for (const each of this.#nodes) if (hasLinkTo(each, session)) peers.add(each.node);
    return [...peers];
  }
}

function closed(): Refusal {
  return failed('the fabric was closed', {
    remedy: 'Make a fabric with createFabric(), and instances with its backend. Close it when their work has ended.',
    recovery: 'fatal',
  });
}

function hasLinkTo(node: FabricNode, session: Session): boolean {
  const links = [...(node.session?.links.all.values() ?? [])];
  return links.some(({ far }) => far instanceof LocalEnd && far.session === session);
}

/** Whether either of two nodes that live holds a link to the other one. */
function areLinked(a: FabricNode, b: FabricNode): boolean {
  if (a.session === undefined || b.session === undefined) return false;
  return hasLinkTo(a, b.session) || hasLinkTo(b, a.session);
}

/** Whether a transfer of an instance goes to a node or comes from it, whatever the id under which it is linked. */
function isTransferWith({ session }: FabricNode, { operation, peer }: NodeCall, node: bigint): boolean {
  if (!TRANSFERS.has(operation) || peer === undefined) return false;
  return (session?.links.find(peer)?.far.clusterId ?? peer) === node;
}

function isOnTheWay(node: FabricNode, call: NodeCall, peer: bigint): boolean {
  return (call.isDelayed || call.isAsking) && isTransferWith(node, call, peer);
}

export function checkPair(a: unknown, b: unknown): [bigint, bigint] {
  const one = clusterIdOf(a, 'a');
  const other = clusterIdOf(b, 'b');
  if (one === other) throw outOfRange('b', 'another node than a', other);
  return [one, other];
}

function linked(peers: readonly bigint[]): string {
  return `links to ${namedNodes(peers)} exist`;
}

/** @throws Error for faults that have something to do still */
export function reportPending(faults: readonly string[]): void {
  report('faults of the fabric that have not hit as often as they should', faults);
}

/** @throws Error for what there is still */
export function reportLeft(things: readonly string[]): void {
  report('the fabric is not idle', things);
}

function report(title: string, lines: readonly string[]): void {
  if (lines.length > 0) throw new Error(`${title}:\n${lines.map((line) => `  ${line}`).join('\n')}`);
}

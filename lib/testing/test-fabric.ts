import '../disposable';
import type { BackendFactory } from '../backend/backend';
import type { Clock } from '../backend/mock/clock';
import { Fabric } from '../backend/mock/fabric';
import { LocalEnd } from '../backend/mock/local-end';
import { failed } from '../backend/mock/refusal';
import type { Refusal } from '../backend/mock/refusal';
import type { Wire } from '../backend/mock/wire';
import { outOfRange } from '../check';
import { Random } from '../random';
import { shortList } from '../short-list';
import { CallLog } from './call-log';
import type { CallRecord } from './call-record';
import { TRANSFERS } from './fault';
import type { Fault } from './fault';
import { FabricNode } from './fabric-node';
import type { NodeRules } from './fabric-node';
import { FaultList } from './fault-list';
import type { InjectedFault } from './fault-list';
import { whatIsLeft } from './idle';
import type { NodeCall } from './node-call';
import type { Surroundings } from './node-calls';
import { clusterIdOf } from './node-ref';
import type { NodeRef } from './node-ref';
import { Partitions } from './partitions';
import { breaks, MAX_ADDRESSES } from './strict';
import { describeNode } from './topology';
import type { Topology } from './topology';

/** What a test fabric is made with. */
export interface TestFabricSettings<C extends Clock> {
  readonly clock: C;
  readonly strict: boolean;
  readonly wire: Wire | undefined;
  readonly seed: number;
  readonly history: number;
}

/**
 * A network of mock instances of its own, in this process: what is made with its {@link backend} sees nothing else, so that
 * tests run side by side. It can be told to fail, and tells what was done on it.
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
  readonly #fabric: Fabric;
  readonly #faults = new FaultList();
  readonly #partitions = new Partitions();
  readonly #log: CallLog;
  readonly #nodes = new Set<FabricNode>();
  readonly #known = new Set<bigint>();
  readonly #down = new Set<bigint>();

  /** @internal */
  constructor({ clock, strict, wire, seed, history }: TestFabricSettings<C>) {
    this.clock = clock;
    this.#log = new CallLog(history);
    this.#fabric = new Fabric(wire === undefined ? {} : { wire });
    this.#fabric.obstacles = this.#partitions;
    const surroundings: Surroundings = { clock, faults: this.#faults, log: this.#log, random: new Random(seed) };
    const rules = this.#rules(strict);
    this.backend = (clusterId, role) => {
      const node = new FabricNode(clusterId, role, this.#fabric, surroundings, rules);
      this.#join(node);
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
   * told nothing: a transfer fails with `LLM_FAILED`, one that is under way at once, an unlink without force with
   * `LLM_UNLINK_FAILED`, and one with force succeeds.
   *
   * @throws RangeError for a node of which no instance was made
   */
  kill(node: NodeRef): void {
    const id = this.#checkKnown(node);
    this.#down.add(id);
    const victims = [...this.#nodes].filter((each) => each.node === id && !each.calls.isDead);
    // Those on the way to it, before the links to it are forgotten on its side.
    const broken = [...this.#nodes].flatMap((each) =>
      each.node === id ? [] : [{ each, calls: each.calls.inFlight.filter((call) => isOnTheWay(each, call, id)) }],
    );
    for (const victim of victims) victim.kill();
    this.#fabric.wire?.drop(id);
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
    const id = clusterIdOf(node, 'node');
    if (!this.#down.delete(id)) throw outOfRange('node', `a node that was killed${list(this.#down)}`, id);
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
    this.#fabric.wire?.drop(one, other);
  }

  /** Nothing passes between the node and any other one, as in {@link partition}; it may be made later. */
  isolate(node: NodeRef): void {
    const id = clusterIdOf(node, 'node');
    this.#partitions.isolate(id);
    this.#fabric.wire?.drop(id);
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

  /** The calls that reached a backend of this fabric, in the order in which they began: the last ones of them. */
  get history(): readonly CallRecord[] {
    return this.#log.records(this.#inFlight());
  }

  /** Nodes, links, caches and memory as they are now. */
  topology(): Topology {
    return { nodes: Array.from(this.#nodes, (node) => describeNode(node, this.#partitions)) };
  }

  /**
   * @throws Error that names the faults which are not removed and have not hit `times` times, or not once where that is not
   *   given
   */
  assertNoPendingFaults(): void {
    report('faults of the fabric that have not hit as often as they should', this.#faults.pending());
  }

  /**
   * Whether the tests have cleaned up: nothing is in flight, linked, registered or allocated. What an instance that
   * listens has unregistered after it was linked stays registered until it is finalized; see `unregisterCache`.
   *
   * @throws Error that names what there is, node by node
   */
  assertIdle(): void {
    const inFlight = new Set(this.#inFlight().map(({ index }) => index + 1));
    const calls = this.history.filter(({ number }) => inFlight.has(number));
    report('the fabric is not idle', whatIsLeft(this.topology(), calls));
  }

  /**
   * Ends a test: every node dies, as in {@link kill}. Nothing is left in flight, linked, registered or allocated, and nobody
   * is warned of instances that were not finalized. `using fabric = createFabric()` does it at the end of the block.
   */
  close(): void {
    for (const node of this.#known) this.kill(node);
  }

  /** {@link close} */
  [Symbol.dispose](): void {
    this.close();
  }

  #inFlight(): NodeCall[] {
    return [...this.#nodes].flatMap(({ calls }) => calls.inFlight);
  }

  #checkKnown(node: unknown): bigint {
    const id = clusterIdOf(node, 'node');
    if (!this.#known.has(id)) throw outOfRange('node', `a node of this fabric${list(this.#known)}`, id);
    return id;
  }

  /** A new instance takes the place of those of its node that are over. */
  #join(node: FabricNode): void {
    for (const each of this.#nodes) {
      const isOver = each.session === undefined && each.space.regions.length === 0 && each.calls.inFlight.length === 0;
      if (each !== node && each.node === node.node && isOver) this.#nodes.delete(each);
    }
    this.#nodes.add(node);
    this.#known.add(node.node);
  }

  #rules(strict: boolean): NodeRules {
    return {
      isDown: (node) => this.#down.has(node),
      join: (node) => {
        this.#join(node);
      },
      checkRegistration: (node, addresses) => (strict ? this.#checkRegistration(node, addresses) : undefined),
      checkFinalize: (node) => (strict ? this.#checkFinalize(node) : undefined),
      checkRoleSwitch: (node) => (strict ? this.#checkRoleSwitch(node) : undefined),
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
        );
      }
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
    for (const each of this.#nodes) {
      for (const link of each.session?.links.all.values() ?? [])
        if (link.far instanceof LocalEnd && link.far.session === session) peers.add(each.node);
    }
    return [...peers];
  }
}

/** Whether a transfer of an instance goes to a node or comes from it, whatever the id under which it is linked. */
function isTransferWith({ session }: FabricNode, { operation, peer }: NodeCall, node: bigint): boolean {
  if (!TRANSFERS.has(operation) || peer === undefined) return false;
  return (session?.links.find(peer)?.far.clusterId ?? peer) === node;
}

function isOnTheWay(node: FabricNode, call: NodeCall, peer: bigint): boolean {
  return call.isDelayed && isTransferWith(node, call, peer);
}

function checkPair(a: unknown, b: unknown): [bigint, bigint] {
  const one = clusterIdOf(a, 'a');
  const other = clusterIdOf(b, 'b');
  if (one === other) throw outOfRange('b', 'another node than a', other);
  return [one, other];
}

function linked(peers: readonly bigint[]): string {
  return `links to ${named(peers)} exist`;
}

function named(nodes: Iterable<bigint>): string {
  return shortList(Array.from(nodes, (id) => `cluster ${id}`)).join(', ');
}

/** The choice there is, for a message. */
function list(nodes: ReadonlySet<bigint>): string {
  return nodes.size === 0 ? ', of which there is none' : `: ${named(nodes)}`;
}

function report(title: string, lines: readonly string[]): void {
  if (lines.length > 0) throw new Error(`${title}:\n${lines.map((line) => `  ${line}`).join('\n')}`);
}

import { inspect } from 'node:util';
import type { InspectOptionsStylized } from 'node:util';
import type { BackendFactory } from '../../backend/backend';
import { withDecimalJSON } from '../../decimal-json';
import { inspected } from '../../inspection';
import type { CallRecord } from '../call-record';
import { checkFault } from '../fault';
import type { Fault } from '../fault';
import type { NodeRef } from '../node-ref';
import { clusterIdOf } from '../node-ref';
import { shortList } from '../../short-list';
import { checkPair, reportLeft, reportPending } from '../test-fabric';
import { topologyOf } from '../topology';
import type { Topology } from '../topology';
import type { Member } from './member';
import type { SharedClock } from './shared-clock';

/** A fault that a rehearsal over several processes was given. */
export interface SharedFault {
  /** How many calls it has hit, in all processes. */
  readonly hits: Promise<number>;
  /** It hits no call any more, in any process. Calls that hang because of it go on; those that it delays wait until that has passed. */
  remove(): Promise<void>;
}

/** What a shared fabric is made of. */
export interface SharedFabricParts {
  readonly member: Member;
  /** What other processes join with. */
  readonly controlAddress: string;
  /** Ends the hub, where it is in this process. */
  readonly closeHub: (() => Promise<void>) | undefined;
}

/**
 * A rehearsal over several processes, as one of them sees it: mock instances that link over TCP, and faults, partitions and time
 * that hold for all of them. It is used as a `TestFabric` is, and every answer has to be awaited: what was asked for has taken
 * effect in every process then.
 *
 * @example
 * ```ts
 * const fabric = await createFabric({ network: 'tcp' });
 * const worker = fork('worker.js', { env: { ...process.env, ...fabric.environment } });
 * await fabric.inject({ op: 'pullBlocks', times: 1, status: 'LLM_TIMEOUT' });
 * ```
 */
export class SharedFabric implements AsyncDisposable {
  /** Makes the backend of an instance of this process: `new LLMDataDist(role, id, { backend: fabric.backend })`. */
  readonly backend: BackendFactory;
  /** The time of all processes. */
  readonly clock: SharedClock;
  /** What other processes join with: `createFabric({ network: 'tcp', control: { connect: controlAddress } })`. It has a secret. */
  readonly controlAddress: string;
  readonly #member: Member;
  readonly #closeHub: (() => Promise<void>) | undefined;

  /** @internal */
  constructor({ member, controlAddress, closeHub }: SharedFabricParts) {
    this.#member = member;
    this.#closeHub = closeHub;
    this.backend = member.local.backend;
    this.clock = member.clock;
    this.controlAddress = controlAddress;
  }

  /** Environment variables with which a program's instances take part: it needs no other change for that. */
  get environment(): Readonly<Record<string, string>> {
    return {
      LLM_DATADIST_BACKEND: 'mock',
      LLM_DATADIST_MOCK_FABRIC: 'tcp',
      LLM_DATADIST_MOCK_CONTROL: this.controlAddress,
    };
  }

  /**
   * Makes calls go wrong, in whichever process; `skip` and `times` count the calls of all of them. An error to throw is the very
   * one in this process, and a copy of it in others: its class, message, code and stack, or the `LLMException` that it is.
   *
   * @throws TypeError, RangeError as `TestFabric.inject`
   */
  async inject(fault: Fault): Promise<SharedFault> {
    const checked = checkFault(fault);
    await this.#member.joined;
    const id = this.#member.newFaultId();
    this.#member.faults.keep(id, checked);
    await this.#ask('inject', { id, fault: checked.definition });
    return sharedFault(
      () => this.#ask('hits', { id }),
      () => this.#ask('remove', { id }),
    );
  }

  /**
   * The node dies, as in `TestFabric.kill`: its instance does, and its connections are cut. The process that it is in lives on;
   * to end that, send it a signal.
   *
   * @throws RangeError for a node of which no process has made an instance
   */
  async kill(node: NodeRef): Promise<void> {
    await this.#ask('kill', { node: clusterIdOf(node, 'node') });
  }

  /**
   * A new instance of the node can be initialised, in whichever process.
   * @throws RangeError for a node that was not killed
   */
  async restart(node: NodeRef): Promise<void> {
    await this.#ask('restart', { node: clusterIdOf(node, 'node') });
  }

  /**
   * Nothing passes between two nodes until they are healed, as in `TestFabric.partition`: what is under way is lost, and is
   * waited for until its timeout has passed on the {@link clock}.
   *
   * @throws RangeError where both are the same
   */
  async partition(a: NodeRef, b: NodeRef): Promise<void> {
    const [one, other] = checkPair(a, b);
    await this.#ask('part', { a: one, b: other });
  }

  /** Nothing passes between the node and any other one, as in {@link partition}. */
  async isolate(node: NodeRef): Promise<void> {
    await this.#ask('isolate', { node: clusterIdOf(node, 'node') });
  }

  /** Undoes {@link partition} and {@link isolate}, as `TestFabric.heal` does. */
  async heal(a?: NodeRef, b?: NodeRef): Promise<void> {
    if (a === undefined && b === undefined) await this.#ask('heal', {});
    else if (b === undefined) await this.#ask('heal', { a: clusterIdOf(a, 'a') });
    else {
      const [one, other] = checkPair(a, b);
      await this.#ask('heal', { a: one, b: other });
    }
  }

  /**
   * The calls of all processes that take part, in order of time; in the same moment of the clock, process by process. Those of a
   * process that has ended are gone with it, and a call that had to wait until its process had joined began at 0.
   */
  get history(): Promise<readonly CallRecord[]> {
    return this.#history();
  }

  /** Nodes, links, caches and memory of all processes, as they are now. */
  async topology(): Promise<Topology> {
    const parts = (await this.#askEach('topology')) as Topology[];
    return topologyOf(parts.flatMap(({ nodes }) => nodes));
  }

  /** @throws as `TestFabric.assertNoPendingFaults` */
  async assertNoPendingFaults(): Promise<void> {
    reportPending((await this.#ask('pending', {})) as string[]);
  }

  /** @throws as `TestFabric.assertIdle` */
  async assertIdle(): Promise<void> {
    reportLeft(((await this.#askEach('left')) as string[][]).flat());
  }

  /**
   * Ends a test. In the process of the hub, every node dies, as in {@link kill}, and the rehearsal is over for all processes; in
   * another one its own nodes die, and it leaves. `await using fabric = await createFabric({ network: 'tcp' })` does it.
   */
  async close(): Promise<void> {
    await this.#closeHub?.();
    this.#member.leave();
  }

  /** {@link close} */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** The fabric for logs, without the secret of its control address. */
  toJSON(): Record<string, unknown> {
    return this.#summary();
  }

  /** @internal */
  [inspect.custom](depth: number | null, options: InspectOptionsStylized): string {
    return inspected('SharedFabric', this.#summary(), depth, options);
  }

  #summary() {
    const nodes = this.#member.local.topology().nodes.map(({ node, state }) => `cluster ${node} (${state})`);
    const [control] = this.controlAddress.split('#');
    return { control, isHub: this.#closeHub !== undefined, nodes: shortList(nodes) };
  }

  async #history(): Promise<readonly CallRecord[]> {
    const parts = await Promise.all((await this.#seats()).map((seat) => this.#historyOf(seat)));
    const all = parts.flat().sort((a, b) => a.startMs - b.startMs);
    return all.map((record, i) => Object.freeze(withDecimalJSON({ ...record, number: i + 1 })));
  }

  async #historyOf(seat: number): Promise<CallRecord[]> {
    const records: CallRecord[] = [];
    for (;;) {
      const args = { after: records.at(-1)?.number ?? 0 };
      const page = (await this.#ask('forward', { seat, call: 'history', args })) as CallRecord[] | null;
      if (page === null || page.length === 0) return records;
      records.push(...page.map(whole));
    }
  }

  /** What each process says, in the order in which they joined. */
  async #askEach(call: string): Promise<unknown[]> {
    const seats = await this.#seats();
    const answers = await Promise.all(seats.map((seat) => this.#ask('forward', { seat, call, args: {} })));
    return answers.filter((answer) => answer !== null);
  }

  async #seats(): Promise<number[]> {
    return (await this.#ask('seats', {})) as number[];
  }

  /** The stack of what is rejected with ends in the caller's line, wherever the error was made. */
  async #ask(call: string, args: Readonly<Record<string, unknown>>): Promise<unknown> {
    try {
      return await this.#member.ask(call, args);
    } catch (error) {
      if (error instanceof Error) Error.captureStackTrace(error, SharedFabric);
      throw error;
    }
  }
}

function sharedFault(hits: () => Promise<unknown>, remove: () => Promise<unknown>): SharedFault {
  return {
    get hits() {
      return hits() as Promise<number>;
    },
    async remove() {
      await remove();
    },
  };
}

/** A record as it was before it became text, which has no word for what is undefined. */
function whole(record: CallRecord): CallRecord {
  const { args, peer, cacheId, status, code, message, results, durationMs, faults } = record;
  for (const each of [args, ...(results ?? []), ...faults]) withDecimalJSON(each);
  return { ...record, peer, cacheId, status, code, message, results, durationMs };
}

import type { CallObserver, Operation } from '../backend/mock/call-observer';
import type { Clock } from '../backend/mock/clock';
import type { Lane } from '../backend/mock/lane';
import type { MockCall } from '../backend/mock/mock-call';
import { failed, Refusal } from '../backend/mock/refusal';
import type { Random } from '../random';
import type { CallLog } from './call-log';
import type { FaultSource } from './fault-list';
import { NodeCall } from './node-call';

/** What the instances of a fabric share. */
export interface Surroundings {
  readonly clock: Clock;
  readonly faults: FaultSource;
  readonly log: CallLog;
  readonly random: Random;
  /** Whether reads and writes of memory are logged. */
  readonly recordMemory: boolean;
}

/** The place of a call that is not logged. */
const NOT_LOGGED = -1;

/** Finds a lane when its turn has come; `undefined` where there is none. The call can be withdrawn while it waits. */
export type LaneFinder = (call: MockCall) => Lane | undefined | Promise<Lane | undefined>;

/** What an instance says of itself to its calls. */
export interface Callee {
  /** The bytes at an address of the instance. */
  bytesAt(address: bigint, byteLength: number): Uint8Array | undefined;
  /** What the library's mutexes guard during a transfer, in the order in which it takes them. */
  lanesOf(operation: Operation, peer: bigint): readonly LaneFinder[];
}

/** The calls of one instance. */
export class NodeCalls implements CallObserver {
  readonly node: bigint;
  readonly clock: Clock;
  readonly faults: FaultSource;
  readonly #surroundings: Surroundings;
  readonly #log: CallLog;
  readonly #recordMemory: boolean;
  readonly #callee: Callee;
  readonly #all = new Set<NodeCall>();
  readonly #free: NodeCall[] = [];
  #next: NodeCall;
  /** What its calls are rejected with since it died. */
  #death: (() => Refusal) | undefined;
  #isBuried = false;

  constructor(node: bigint, surroundings: Surroundings, callee: Callee) {
    const { clock, faults, log, recordMemory } = surroundings;
    this.node = node;
    this.clock = clock;
    this.faults = faults;
    this.#surroundings = surroundings;
    this.#log = log;
    this.#recordMemory = recordMemory;
    this.#callee = callee;
    this.#next = this.#make();
  }

  /** The call that begins next: the code that makes it says here what it is called with. */
  get next(): NodeCall {
    return this.#next;
  }

  /** What decides by chance; made when it is needed first. */
  get random(): Random {
    return this.#surroundings.random;
  }

  /** Whether nothing can be in the way of a call. */
  get isQuiet(): boolean {
    return this.faults.isEmpty && this.#death === undefined;
  }

  get isDead(): boolean {
    return this.#death !== undefined;
  }

  /** Calls that have begun and not ended. */
  get inFlight(): NodeCall[] {
    return [...this.#all].filter((call) => call.isBusy);
  }

  begin(operation: Operation): NodeCall {
    const call = this.#next;
    this.#next = this.#free.pop() ?? this.#make();
    call.index = !this.#recordMemory && (operation === 'read' || operation === 'write') ? NOT_LOGGED : this.#log.take();
    call.operation = operation;
    call.startMs = this.clock.now();
    call.isBusy = true;
    return call;
  }

  /** Logs a call that would not be, before another one begins: a fault hits it. */
  record(call: NodeCall): void {
    if (call.index === NOT_LOGGED) call.index = this.#log.take();
  }

  ended(call: NodeCall, error: unknown): void {
    if (call.index !== NOT_LOGGED) this.#log.add(call, this.clock.now(), error);
  }

  giveBack(call: NodeCall): void {
    this.#free.push(call);
  }

  discard(call: NodeCall): void {
    this.#all.delete(call);
  }

  /** The process dies: whatever it does ends here. */
  die(death: () => Refusal = () => killed(this.node)): void {
    this.#death = death;
    this.interrupt(this.inFlight, death());
  }

  /** Nobody waits for its calls any more; the process lives on. */
  giveUp(error: Error): void {
    for (const call of this.inFlight) call.giveUp(error);
  }

  /** Ends calls that wait. */
  interrupt(calls: readonly NodeCall[], error: Error): void {
    for (const call of calls) call.interrupt(error);
  }

  /**
   * A dead process makes no calls. That which ends an instance passes: there is nothing left to end, and tests end what
   * they began.
   */
  checkAlive(operation: Operation): void {
    if (this.#death === undefined) return;
    if (operation !== 'finalize') throw this.#death();
    this.#isBuried = true;
  }

  /** Whether it was finalized after its death. */
  get isBuried(): boolean {
    return this.#isBuried;
  }

  /** What a `write` has written, in one place or in several of the same size. */
  written(operation: Operation, details: Readonly<Record<string, unknown>> | undefined): Uint8Array[] {
    const { address, addresses = [address], byteLength } = details ?? {};
    if (operation !== 'write' || typeof byteLength !== 'number') return [];
    const places = addresses as readonly bigint[];
    return places.flatMap((place) => this.#callee.bytesAt(place, byteLength / places.length) ?? []);
  }

  /** What a transfer of the instance with a peer holds while it is under way. */
  lanesOf(operation: Operation, peer: bigint | undefined): readonly LaneFinder[] {
    return peer === undefined ? [] : this.#callee.lanesOf(operation, peer);
  }

  #make(): NodeCall {
    const call = new NodeCall(this);
    this.#all.add(call);
    return call;
  }
}

function killed(node: bigint): Refusal {
  return failed(`cluster ${node} was killed`, {
    remedy:
      'Once for all calls: call restart(node) of the fabric, make a new LLMDataDist, initialise it, register its caches, and link it.',
    recovery: 'fatal',
  });
}

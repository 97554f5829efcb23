import { connect } from 'node:net';
import type { TcpFabric } from '../../backend/mock/tcp/tcp-fabric';
import { failed } from '../../backend/mock/refusal';
import type { Refusal } from '../../backend/mock/refusal';
import type { PartitionState } from '../partitions';
import { TestFabric } from '../test-fabric';
import type { TestFabricSettings } from '../test-fabric';
import type { Clock } from '../../backend/mock/clock';
import type { ControlAddress } from './control-address';
import { toText } from './message-text';
import type { Line } from './line';
import { HubPulse } from './hub-pulse';
import { ownValue } from './own-value';
import { PROTOCOL_VERSION } from './protocol';
import type { Rest, SharedFaultEntry, Side, Welcome } from './protocol';
import { RemoteCalls } from './remote-calls';
import { SharedClock } from './shared-clock';
import { SharedFaults } from './shared-faults';
import { SharedObstacles } from './shared-obstacles';
import { LONGEST_LINE, SocketLine } from './socket-line';

export interface MemberOptions {
  readonly network: TcpFabric;
  readonly recordMemory: boolean;
  readonly history: number;
  /** How long the hub may take to answer, in real time, before it counts as lost. */
  readonly limitMs: number;
  /** Where the hub is, for messages. */
  readonly hub: string;
}

type Args = Readonly<Record<string, unknown>>;

/** What is asked for while the processes come to rest; everything else that is under way means that they have not. */
const TIME_CALLS: ReadonlySet<string> = new Set(['advance', 'runAll', 'schedule']);

/** A part of a history that is sent at once, in characters of its text. */
const PAGE_LENGTH = 2 ** 22;

/** This process in a rehearsal: its instances, and what it knows of the faults, the partitions and the time. */
export class Member {
  readonly clock: SharedClock;
  readonly faults: SharedFaults;
  readonly obstacles = new SharedObstacles();
  /** The instances of this process. */
  readonly local: TestFabric<SharedClock>;
  /** Settles when the process has joined; rejects when it cannot. */
  readonly joined: Promise<void>;
  readonly #options: MemberOptions;
  #calls: RemoteCalls | undefined;
  #line: Line | undefined;
  #pulse: HubPulse | undefined;
  #welcome: Welcome | undefined;
  /** What waits for the time of others. */
  #waiting = 0;
  #timeCalls = 0;
  #loss: Error | undefined;
  #lastFault = 0;

  /** @param reach makes the connection to the hub */
  constructor(options: MemberOptions, token: string, reach: () => Promise<Line>) {
    this.#options = options;
    this.joined = this.#join(token, reach);
    // Each call that needs it reports it.
    const settled = this.joined.then(
      () => undefined,
      () => undefined,
    );
    this.clock = new SharedClock(
      (call, args) => this.ask(call, args),
      (difference) => {
        this.#waiting += difference;
        this.#line?.keepAlive(difference);
      },
    );
    this.faults = new SharedFaults((call, args) => this.#askOrNone(call, args), settled);
    this.local = new TestFabric(
      this.#withLateRules({
        clock: this.clock,
        history: options.history,
        recordMemory: options.recordMemory,
        shared: {
          network: options.network,
          faults: this.faults,
          obstacles: this.obstacles,
          announce: (node) => this.#announce(node),
        },
      }),
    );
    options.network.obstacles = this.obstacles;
  }

  /** A name that no fault of the rehearsal has. */
  newFaultId(): string {
    return `${this.#welcome?.seat ?? 0}-${++this.#lastFault}`;
  }

  /** Asks the hub for something. @throws Error when it has gone, or was never reached */
  async ask(call: string, args: Args = {}): Promise<unknown> {
    await this.joined;
    if (this.#calls === undefined || this.#loss !== undefined) throw this.#gone();
    const isOfTime = TIME_CALLS.has(call);
    if (isOfTime) this.#timeCalls += 1;
    try {
      return await this.#calls.ask(call, args);
    } finally {
      if (isOfTime) this.#timeCalls -= 1;
    }
  }

  /** Ends the instances of this process, which leaves the rehearsal. */
  leave(): void {
    this.local.close();
    this.#lose(new Error('the fabric of this process was closed'));
    this.#line?.close();
  }

  async #join(token: string, reach: () => Promise<Line>): Promise<void> {
    const { hub, limitMs } = this.#options;
    try {
      const line = await reach();
      this.#line = line;
      if (this.#loss !== undefined) {
        line.close();
        throw this.#loss;
      }
      for (let i = 0; i < this.#waiting; i++) line.keepAlive(1);
      this.#calls = new RemoteCalls(line, {
        serve: (call, args) => ownValue(this.#commands, call)?.(args),
        closed: () => {
          this.#lose(new Error(`the hub of the rehearsal at ${hub} has gone`));
        },
        gone: () => this.#gone(),
        late: () => new Error(`the hub at ${hub} did not answer within ${limitMs} ms`),
      });
      await this.#calls.ask('join', { token, version: PROTOCOL_VERSION, pid: process.pid }, limitMs);
      this.#feelPulse(line, this.#calls);
    } catch (error) {
      const reason = this.#welcome === undefined && this.#calls?.isOpen === false ? REFUSED : (error as Error).message;
      const failure = new Error(`this process cannot join the rehearsal at ${hub}: ${reason}`);
      this.#loss = failure;
      this.clock.lose(failure);
      throw failure;
    }
  }

  /** A hub in another process may be stopped, and would hold up all that asks it. */
  #feelPulse(line: Line, calls: RemoteCalls): void {
    if (!(line instanceof SocketLine) || this.#loss !== undefined) return;
    const { limitMs } = this.#options;
    const ask = () => calls.ask('alive', {}, limitMs);
    this.#pulse = new HubPulse(limitMs, ask, (error) => {
      this.#lose(error);
      line.close();
    });
  }

  /** In force as soon as it has come: what the hub sends next builds upon it. */
  #start(welcome: Welcome): void {
    const { rules, now, faults, partitions, down } = welcome;
    this.#welcome = welcome;
    this.clock.start(rules, now);
    this.faults.update(faults);
    this.#obstruct(partitions, ['made', 'served']);
    this.local.applyDown(new Set(down));
  }

  readonly #commands: Readonly<Record<string, (args: Args) => unknown>> = {
    welcome: ({ welcome }) => {
      this.#start(welcome as Welcome);
    },
    faults: ({ faults, removed }) => {
      this.faults.update(faults as SharedFaultEntry[]);
      this.faults.remove(removed as string[]);
    },
    partitions: ({ partitions, sides }) => {
      this.#obstruct(partitions as PartitionState, sides as Side[]);
    },
    kill: ({ node, down }) => {
      this.local.applyDown(new Set(down as bigint[]));
      this.local.applyKill(node as bigint);
    },
    down: ({ down }) => {
      this.local.applyDown(new Set(down as bigint[]));
    },
    end: () => {
      this.local.close();
    },
    rest: () => this.#rest(),
    moveTo: ({ now }) => {
      this.clock.moveTo(now as number);
    },
    wake: () => {
      this.clock.wakeDue();
    },
    history: ({ after }) => this.#page(after as number),
    topology: () => this.local.topology(),
    left: () => this.local.whatIsLeft(),
  };

  /**
   * With what the hub says for all processes; asked for when it is needed first, which is after this one has joined. An object
   * spread would ask now.
   */
  #withLateRules<C extends Clock>(settings: Omit<TestFabricSettings<C>, 'strict' | 'seed'>): TestFabricSettings<C> {
    const rules = () => this.#welcome?.rules;
    return Object.defineProperties({ ...settings } as TestFabricSettings<C>, {
      strict: { get: () => rules()?.strict ?? true },
      seed: { get: () => rules()?.seed ?? 1 },
    });
  }

  async #announce(node: bigint): Promise<Refusal | undefined> {
    try {
      await this.ask('announce', { node });
      return undefined;
    } catch (error) {
      // Once the hub has gone nothing is rehearsed any more, and the instance works on.
      return this.#welcome === undefined ? failed((error as Error).message) : undefined;
    }
  }

  /** Without a hub no fault hits. */
  async #askOrNone(call: string, args: Args): Promise<unknown> {
    try {
      return await this.ask(call, args);
    } catch (error) {
      if (this.#loss === undefined) throw error;
      return undefined;
    }
  }

  #obstruct(state: PartitionState, sides: readonly Side[]): void {
    this.obstacles.update(state, sides);
    for (const { session } of this.local.nodes) {
      for (const connection of session?.connections ?? []) connection.obstruct();
    }
  }

  async #rest(): Promise<Rest> {
    await this.clock.settled();
    const traffic = [...this.local.nodes].flatMap(({ session }) =>
      Array.from(session?.connections ?? [], (connection) => connection.traffic),
    );
    const notWaitedFor = this.#timeCalls + Number(this.#pulse?.isAsking ?? false);
    const isAsking = (this.#calls?.waiting ?? 0) > notWaitedFor;
    return {
      schedule: this.clock.schedule,
      isBusy: isAsking || this.#options.network.dialling > 0 || traffic.some(({ isSending }) => isSending),
      traffic: traffic.map(({ name, sent, received }) => [name, sent, received]),
    };
  }

  #page(after: number): unknown[] {
    const page: unknown[] = [];
    let length = 0;
    for (const record of this.local.history) {
      if (record.number <= after) continue;
      length += toText(record).length;
      page.push(record);
      if (length >= PAGE_LENGTH) break;
    }
    return page;
  }

  /** The hub has gone: nothing is rehearsed any more, what it held up ends, and the instances work on. */
  #lose(error: Error): void {
    if (this.#loss !== undefined) return;
    this.#loss = error;
    this.#pulse?.stop();
    const refusal = failed(error.message);
    this.faults.update([]);
    this.obstacles.clear();
    this.clock.lose(refusal);
    for (const { calls } of this.local.nodes) {
      calls.interrupt(
        calls.inFlight.filter(({ isDelayed, faults }) => isDelayed || faults.some(({ hang }) => hang)),
        refusal,
      );
    }
  }

  #gone(): Error {
    return new Error(this.#loss?.message ?? `the hub of the rehearsal at ${this.#options.hub} has gone`);
  }
}

const REFUSED =
  'the hub has closed the connection: the token is of another rehearsal, or the package of another version';

/** A connection to a hub; the process stays alive while it is made. */
export function reachHub({ host, port }: ControlAddress): Promise<Line> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(new SocketLine(socket, LONGEST_LINE));
    });
  });
}

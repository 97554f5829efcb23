import { timingSafeEqual } from 'node:crypto';
import { checkFinite, checkObject, checkUint64 } from '../../check';
import type { CheckedFault } from '../fault';
import { FaultList } from '../fault-list';
import type { ActiveFault } from '../fault-list';
import { KnownNodes } from '../known-nodes';
import { Partitions } from '../partitions';
import { checkPair } from '../test-fabric';
import { checkClusters, checkCount, checkId, checkOptionalNode, checkTarget } from './hub-arguments';
import { HubClock } from './hub-clock';
import type { Line } from './line';
import { ownValue } from './own-value';
import { PROTOCOL_VERSION } from './protocol';
import type { SharedFaultEntry, SharedRules, Side, Welcome } from './protocol';
import { RemoteCalls } from './remote-calls';

export interface HubSettings {
  readonly rules: SharedRules;
  readonly token: string;
  /** How long a process may take to answer, in real time. */
  readonly limitMs: number;
}

/** A process of the rehearsal. */
interface Seat {
  readonly number: number;
  /** For messages. */
  readonly name: string;
  readonly calls: RemoteCalls;
}

type Args = Readonly<Record<string, unknown>>;

/** What one process may ask another one for, through the hub. */
const FORWARDED: ReadonlySet<unknown> = new Set(['history', 'topology', 'left']);

/**
 * What the processes of a rehearsal share: the faults and their counts, the partitions, the nodes that are down, and the time.
 * A change has taken effect when every process has applied it.
 */
export class Hub {
  readonly #settings: HubSettings;
  readonly #seats = new Set<Seat>();
  readonly #faults = new FaultList();
  readonly #byId = new Map<string, ActiveFault>();
  readonly #ids = new WeakMap<CheckedFault, string>();
  readonly #partitions = new Partitions();
  readonly #nodes = new KnownNodes();
  readonly #clock: HubClock<Seat>;
  #lastSeat = 0;
  #changes: Promise<unknown> = Promise.resolve();

  constructor(settings: HubSettings) {
    this.#settings = settings;
    this.#clock = new HubClock<Seat>(
      {
        askAll: (call, args) => this.#askAll(call, args),
        ask: (seat, call, args) => this.#ask(seat, call, args),
      },
      settings.limitMs,
    );
  }

  /**
   * Serves a process that may join.
   * @param joined called when it has
   * @param closed called when it has gone
   */
  serve(line: Line, joined: () => void, closed: () => void): void {
    let seat: Seat | undefined;
    const calls: RemoteCalls = new RemoteCalls(line, {
      serve: (call, args) => {
        if (seat !== undefined) return (ownValue(this.#commands, call) ?? unknownCall(call))(args);
        if (call !== 'join' || !this.#isInvited(args)) {
          line.close();
          return undefined;
        }
        seat = this.#admit(calls, args.pid);
        joined();
        return this.#welcome(seat);
      },
      closed: () => {
        if (seat !== undefined) this.#seats.delete(seat);
        closed();
      },
      gone: () => new Error(`${seat?.name ?? 'a process'} has left the rehearsal`),
      late: (call) =>
        new Error(
          `${seat?.name ?? 'a process'} of the rehearsal did not answer within ${this.#settings.limitMs} ms (${call})`,
        ),
    });
  }

  /** Ends all nodes, and the rehearsal. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#seats].map((seat) => this.#ask(seat, 'end', {})));
    for (const { calls } of [...this.#seats]) calls.close();
  }

  readonly #commands: Readonly<Record<string, (args: Args) => unknown>> = {
    alive: () => true,
    announce: ({ node }) => {
      this.#nodes.add(checkUint64(node, 'node'));
      return true;
    },
    inject: async ({ id, fault }) => {
      const name = checkId(id, this.#byId, true);
      const active = this.#faults.inject(fault);
      this.#byId.set(name, active);
      this.#ids.set(active.fault, name);
      await this.#shareFaults();
      return true;
    },
    remove: async ({ id }) => {
      const name = checkId(id, this.#byId, false);
      this.#byId.get(name)?.remove();
      await this.#shareFaults([name]);
      return true;
    },
    hits: ({ id }) => this.#byId.get(checkId(id, this.#byId, false))?.hits,
    pending: () => this.#faults.pending(),
    hit: ({ target }) => this.#idOf(this.#faults.hit(checkTarget(target))),
    hitClusters: ({ target, clusters }) => {
      const hits = this.#faults.hitClusters(checkTarget(target), checkClusters(clusters));
      return hits.map((fault) => this.#idOf(fault));
    },
    kill: async ({ node }) => {
      const id = this.#nodes.check(node);
      this.#nodes.kill(id);
      await this.#change(() => this.#askAll('kill', { node: id, down: [...this.#nodes.down] }));
      return true;
    },
    restart: async ({ node }) => {
      this.#nodes.restart(node);
      await this.#change(() => this.#askAll('down', { down: [...this.#nodes.down] }));
      return true;
    },
    part: ({ a, b }) => {
      const pair = checkPair(a, b);
      return this.#partition(['made', 'served'], () => {
        this.#partitions.part(...pair);
      });
    },
    isolate: ({ node }) => {
      const id = checkUint64(node, 'node');
      return this.#partition(['made', 'served'], () => {
        this.#partitions.isolate(id);
      });
    },
    heal: ({ a, b }) => {
      if (b === undefined) return this.#heal(checkOptionalNode(a, 'a'), undefined);
      return this.#heal(...checkPair(a, b));
    },
    seats: () => Array.from(this.#seats, ({ number }) => number),
    forward: async ({ seat, call, args }) => {
      if (typeof call !== 'string' || !FORWARDED.has(call)) return unknownCall(call);
      const number = checkCount(seat, 'seat', 1);
      const { after } = checkObject(args, 'args');
      const checked = call === 'history' ? { after: checkCount(after, 'args.after', 0) } : {};
      const other = [...this.#seats].find((each) => each.number === number);
      // One that has left has nothing to say any more.
      return other === undefined ? null : ((await this.#ask(other, call, checked)) ?? null);
    },
    advance: async ({ ms }) => {
      this.#checkManual();
      await this.#clock.advance(checkFinite(ms, 'ms', 0));
      return true;
    },
    runAll: async ({ mostWakes }) => {
      this.#checkManual();
      await this.#clock.runAll(checkCount(mostWakes, 'mostWakes', 1));
      return true;
    },
    schedule: () => {
      this.#checkManual();
      return this.#clock.schedule();
    },
  };

  #isInvited({ token, version }: Args): boolean {
    const expected = Buffer.from(this.#settings.token);
    const given = Buffer.from(typeof token === 'string' ? token : '');
    return version === PROTOCOL_VERSION && given.length === expected.length && timingSafeEqual(given, expected);
  }

  #admit(calls: RemoteCalls, pid: unknown): Seat {
    const name = `process ${checkCount(pid, 'pid', 0)}`;
    const seat = { number: ++this.#lastSeat, name, calls };
    this.#seats.add(seat);
    return seat;
  }

  /** What holds at present comes before what changes afterwards, and before the answer to the process. */
  async #welcome(seat: Seat): Promise<unknown> {
    const welcome: Welcome = {
      seat: seat.number,
      rules: this.#settings.rules,
      now: this.#clock.now,
      faults: this.#entries(),
      partitions: this.#partitions.state,
      down: [...this.#nodes.down],
    };
    await this.#ask(seat, 'welcome', { welcome });
    return true;
  }

  #checkManual(): void {
    if (this.#settings.rules.time === 'manual') return;
    throw new Error("the clock of this rehearsal is the real one: it was made with { clock: 'real' }");
  }

  #idOf(fault: CheckedFault | undefined): string | null {
    if (fault === undefined) return null;
    const id = this.#ids.get(fault) ?? null;
    // Nothing more is asked about it. Who was hit need not wait until all know.
    if (id !== null && this.#byId.get(id)?.isSpent === true) void this.#shareFaults().catch(ignoreLate);
    return id;
  }

  #entries(): SharedFaultEntry[] {
    return this.#faults.active.flatMap((active) => {
      const id = this.#ids.get(active.fault);
      return id === undefined || active.isSpent ? [] : [{ id, definition: active.fault.definition }];
    });
  }

  /** @param removed those that are not only spent */
  async #shareFaults(removed: readonly string[] = []): Promise<void> {
    await this.#askAll('faults', { faults: this.#entries(), removed });
  }

  async #heal(a: bigint | undefined, b: bigint | undefined): Promise<true> {
    await this.#partition(['served'], () => {
      if (a === undefined) this.#partitions.healAll();
      else if (b === undefined) this.#partitions.healNode(a);
      else this.#partitions.healPair(a, b);
    });
    // What is sent now is served everywhere.
    return this.#partition(['made'], () => undefined);
  }

  #partition(sides: readonly Side[], change: () => void): Promise<true> {
    return this.#change(async () => {
      change();
      await this.#askAll('partitions', { partitions: this.#partitions.state, sides });
      return true as const;
    });
  }

  /** One after the other: what a process applies last is what was asked for last. */
  #change<T>(work: () => Promise<T>): Promise<T> {
    const running = this.#changes.then(work);
    this.#changes = running.then(
      () => undefined,
      () => undefined,
    );
    return running;
  }

  async #askAll(call: string, args: Args): Promise<Map<Seat, unknown>> {
    const answers = await Promise.all(
      [...this.#seats].map(async (seat) => [seat, await this.#ask(seat, call, args)] as const),
    );
    return new Map(answers.filter(([seat]) => this.#seats.has(seat)));
  }

  /** `undefined` of a process that leaves: what it was asked for is over with it. */
  async #ask(seat: Seat, call: string, args: Args): Promise<unknown> {
    try {
      return await seat.calls.ask(call, args, this.#settings.limitMs);
    } catch (error) {
      if (seat.calls.isOpen) throw error;
      return undefined;
    }
  }
}

function unknownCall(call: unknown): never {
  throw new Error(`a process of another version asks the hub for ${JSON.stringify(call)}`);
}

/** The next change that is waited for finds out as well that a process does not answer. */
function ignoreLate(): void {
  // There is no caller to report it to.
}

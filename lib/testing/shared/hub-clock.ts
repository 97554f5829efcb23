import type { Schedule } from '../../backend/mock/clock';
import { nodeTimers } from '../../node-timers';
import type { Rest } from './protocol';

/** What the clock of a hub needs of the processes. */
export interface Processes<Seat> {
  /** Asks all of them; those that leave meanwhile do not answer. */
  askAll(call: string, args: Readonly<Record<string, unknown>>): Promise<ReadonlyMap<Seat, unknown>>;
  ask(seat: Seat, call: string, args: Readonly<Record<string, unknown>>): Promise<unknown>;
}

/** A connection of which one end only is known leads out of the rehearsal, or its end is on the way: that takes no longer. */
const LONELY_ROUNDS = 5;

/** Advances the time of all processes of a rehearsal. */
export class HubClock<Seat> {
  readonly #processes: Processes<Seat>;
  readonly #limitMs: number;
  #now = 0;
  #advances: Promise<unknown> = Promise.resolve();

  /** @param limitMs how long the processes may take to come to rest, in real time */
  constructor(processes: Processes<Seat>, limitMs: number) {
    this.#processes = processes;
    this.#limitMs = limitMs;
  }

  get now(): number {
    return this.#now;
  }

  advance(ms: number): Promise<void> {
    return this.#inTurn(async () => {
      const end = this.#now + ms;
      for (;;) {
        const first = firstOf(await this.#rest());
        if (first === undefined || first.due > end) break;
        await this.#wake(first);
      }
      await this.#moveTo(end);
    });
  }

  runAll(mostWakes: number): Promise<void> {
    return this.#inTurn(async () => {
      for (let wakes = 0; ; wakes++) {
        const rests = await this.#rest();
        const { sleeping } = totalOf(rests);
        const first = firstOf(rests);
        if (sleeping === 0 || first === undefined) return;
        if (wakes === mostWakes) {
          throw new Error(
            `${sleeping} still sleep after ${mostWakes} were woken: does something sleep again and again?`,
          );
        }
        await this.#wake(first);
      }
    });
  }

  /** What sleeps in all processes when nothing happens any more by itself. */
  schedule(): Promise<Schedule> {
    return this.#inTurn(async () => totalOf(await this.#rest()));
  }

  async #wake({ seat, due }: First<Seat>): Promise<void> {
    await this.#moveTo(Math.max(this.#now, due));
    await this.#processes.ask(seat, 'wake', {});
  }

  async #moveTo(now: number): Promise<void> {
    this.#now = now;
    await this.#processes.askAll('moveTo', { now });
  }

  /**
   * Settles when nothing happens any more by itself: two rounds of questions found no process at work, no message on its way and
   * nothing changed between them.
   */
  async #rest(): Promise<ReadonlyMap<Seat, Rest>> {
    const end = nodeTimers.now() + this.#limitMs;
    let before = '';
    for (let same = 0; ;) {
      const rests = (await this.#processes.askAll('rest', {})) as ReadonlyMap<Seat, Rest>;
      const now = JSON.stringify([...rests.values()]);
      const ends = endsOf([...rests.values()]);
      const isStill = [...rests.values()].every(({ isBusy }) => !isBusy) && ends.every(isDelivered);
      const isLonely = ends.some(({ length }) => length === 1);
      same = isStill && now === before ? same + 1 : 0;
      if (same >= (isLonely ? LONELY_ROUNDS : 1)) return rests;
      before = now;
      if (nodeTimers.now() > end) {
        throw new Error(`the processes of the rehearsal did not come to rest within ${this.#limitMs} ms`);
      }
      if (isLonely || !isStill) await pause();
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const running = this.#advances.then(work);
    // The next one begins also when this one fails; its own caller gets the failure.
    this.#advances = running.then(
      () => undefined,
      () => undefined,
    );
    return running;
  }
}

interface First<Seat> {
  readonly seat: Seat;
  readonly due: number;
  readonly isLimit: boolean;
}

/** What is due first: of the same moment what is no deadline, and what is in the process that joined first. */
function firstOf<Seat>(rests: ReadonlyMap<Seat, Rest>): First<Seat> | undefined {
  let best: First<Seat> | undefined;
  for (const [seat, { schedule }] of rests) {
    const { first } = schedule;
    if (first === undefined) continue;
    const isEarlier =
      best === undefined || first.due < best.due || (first.due === best.due && best.isLimit && !first.isLimit);
    if (isEarlier) best = { seat, ...first };
  }
  return best;
}

function totalOf(rests: ReadonlyMap<unknown, Rest>): Schedule {
  const schedules = Array.from(rests.values(), ({ schedule }) => schedule);
  const dues = schedules.flatMap(({ nextDueMs }) => nextDueMs ?? []);
  return {
    first: undefined,
    sleeping: schedules.reduce((sum, { sleeping }) => sum + sleeping, 0),
    nextDueMs: dues.length === 0 ? undefined : Math.min(...dues),
    changes: 0,
  };
}

type End = readonly [sent: number, received: number];

/** The ends of each connection that are known. */
function endsOf(rests: readonly Rest[]): End[][] {
  const byName = new Map<string, End[]>();
  for (const { traffic } of rests) {
    for (const [name, sent, received] of traffic) byName.set(name, [...(byName.get(name) ?? []), [sent, received]]);
  }
  return [...byName.values()];
}

function isDelivered([one, other]: readonly End[]): boolean {
  return one === undefined || other === undefined || (one[0] === other[1] && one[1] === other[0]);
}

function pause(): Promise<void> {
  return new Promise((resolve) => {
    nodeTimers.setTimeout(resolve, 1);
  });
}

import { types } from 'node:util';
import type { Backend, TransferKind } from './backend/backend';
import { Deadline } from './deadline';
import type { LLMException } from './exception';
import { nodeTimers } from './node-timers';
import type { OverLink } from './over-link';
import { releasedOf } from './released';
import { givenUp, refused } from './unresponsive';
import type { HungTransfer } from './unresponsive';

/** A transfer that was given up. */
export interface GivenUp {
  readonly hang: Hang;
  /** What it still is in the library; `undefined` where it never got there, and never will. */
  readonly inside: Inside | undefined;
}

/** A transfer that was given up, and that the backend still has. */
export interface Inside {
  /** When the backend got it, by the clock of deadlines; where the backend gives it up itself, when the library did. */
  readonly sinceMs: number;
  /** Resolves when it has come back after all: with what it was rejected with, if it was. */
  readonly returned: Promise<unknown>;
  /** Resolves some turns of the microtask queue later: where it was the last one of its hang, the peer is responsive again then. */
  readonly noticed: Promise<void>;
  /** Blocks of this side that it was called with, where the backend says so. */
  readonly blocks: BigUint64Array | undefined;
}

/** A peer that is unresponsive: transfers with it were given up, and have not come back. */
export class Hang implements HungTransfer {
  kind: TransferKind;
  elapsedMs: number;
  readonly clusterId: bigint;
  /** When it was noticed. */
  readonly sinceMs: number;
  /** Resolves when calls pass again. Rejects when the instance is lost. Nothing has to be done with it. */
  readonly over: Promise<void>;
  /** Transfers that the backend still has. */
  #inside = 0;
  #end: () => void = () => undefined;
  #lose: (loss: unknown) => void = () => undefined;

  constructor(kind: TransferKind, clusterId: bigint, elapsedMs: number, sinceMs: number) {
    this.kind = kind;
    this.clusterId = clusterId;
    this.elapsedMs = elapsedMs;
    this.sinceMs = sinceMs;
    this.over = new Promise((resolve, reject) => {
      this.#end = resolve;
      this.#lose = reject;
    });
    this.over.catch(() => undefined);
  }

  get hasEnded(): boolean {
    return this.#inside === 0;
  }

  enter(): void {
    this.#inside += 1;
  }

  leave(): void {
    this.#inside -= 1;
  }

  end(): void {
    this.#end();
  }

  lose(loss: unknown): void {
    this.#lose(loss);
  }
}

/** A transfer whose promise is waited for with one of the package's own. */
class Waiting {
  readonly clusterId: bigint;
  /** Whether it was given up. */
  isGivenUp = false;
  /** Whether it goes on in the backend although it was given up. */
  isInside = false;
  readonly #sinceMs: number;
  /** Its number in the backend. */
  readonly #made: number | undefined;
  readonly #reject: (error: unknown) => void;
  #comesBack: ((error: unknown) => void) | undefined;

  constructor(clusterId: bigint, sinceMs: number, made: number | undefined, reject: (error: unknown) => void) {
    this.clusterId = clusterId;
    this.#sinceMs = sinceMs;
    this.#made = made;
    this.#reject = reject;
  }

  /** Only the first time: it belongs to one hang. */
  giveUp(hang: Hang, lanes: Lanes): void {
    if (this.isGivenUp) return;
    this.isGivenUp = true;
    const isTakenBack = this.#made !== undefined && lanes.backend.withdraw?.(this.#made) === true;
    this.isInside = !isTakenBack;
    let inside: Inside | undefined;
    if (!isTakenBack) {
      const returned = new Promise<unknown>((resolve) => {
        this.#comesBack = resolve;
      });
      inside = { sinceMs: this.#sinceMs, returned, noticed: lanes.notice(hang, returned), blocks: undefined };
    }
    this.#reject(new PartedError({ hang, inside }));
  }

  comeBack(error?: unknown): void {
    this.#comesBack?.(error);
  }
}

/** The package's own promise of a transfer was rejected with this. */
class PartedError extends Error {
  constructor(readonly givenUp: GivenUp) {
    super();
  }
}

/**
 * Transfers that the library does one after the other: the pulls from one peer, or all pushes of the instance. Where the first
 * of them is given up, none gets on.
 *
 * A call costs two counts. One timer watches all of them, and looks at those counts when it ends.
 */
export class Lane {
  readonly kind: TransferKind;
  /** The peer of pulls. */
  readonly clusterId: bigint;
  readonly #lanes: Lanes;
  /** In the order of the calls, where the backend cannot give them up itself. */
  readonly waiting = new Set<Waiting>();
  /**
   * Transfers that are not over. Where the backend gives them up itself, each raises it as it does those of `Uses`: then
   * {@link leave} lowers it.
   */
  count = 0;
  #moves = 0;
  #seen = 0;
  /** Since when the first of those that are waiting has been the first. */
  #sinceMs = 0;
  #watch: Deadline | undefined;

  constructor(lanes: Lanes, kind: TransferKind, clusterId: bigint) {
    this.#lanes = lanes;
    this.kind = kind;
    this.clusterId = clusterId;
  }

  get isIdle(): boolean {
    return this.count === 0;
  }

  /** A transfer has been handed to the backend, in this turn. @returns what to wait for; see `count` */
  enter(over: OverLink, answer: Promise<void>): Promise<void> {
    const { canGiveUp } = this.#lanes;
    if (this.count === 0 && !canGiveUp) this.#sinceMs = this.#lanes.now();
    this.#watch ??= this.#arm();
    return canGiveUp ? answer : this.#wait(over, answer);
  }

  /** The transfer is over, for its caller. */
  leave(): void {
    if (this.#lanes.canGiveUp) this.#passed();
  }

  end(): void {
    this.#watch?.end();
    this.#watch = undefined;
  }

  #passed(): void {
    this.count -= 1;
    this.#moves += 1;
  }

  #wait(over: OverLink, answer: Promise<void>): Promise<void> {
    const lanes = this.#lanes;
    return new Promise((resolve, reject) => {
      const waiting = new Waiting(over.key.clusterId, lanes.now(), lanes.backend.lastCall?.(), reject);
      answer.then(
        () => {
          over.succeed();
          this.#passes(waiting);
          resolve();
        },
        (failure: unknown) => {
          const error = over.fail(failure);
          this.#passes(waiting, error);
          // As it came from the backend.
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
          reject(error);
        },
      );
      // What takes it out again waits already: no function is entered from here on, where a `vm` timeout could stop it.
      this.waiting.add(waiting);
      this.count += 1;
    });
  }

  #passes(waiting: Waiting, error?: unknown): void {
    this.waiting.delete(waiting);
    this.#passed();
    this.#sinceMs = this.#lanes.now();
    if (this.count === 0) this.end();
    waiting.comeBack(error);
  }

  #arm(): Deadline {
    this.#seen = this.#moves;
    const { allowedMs, backend, canGiveUp } = this.#lanes;
    const made: { watch?: Deadline } = {};
    // Not where a `vm` timeout has stopped the call when the timer had started: then nothing knows of it.
    const isIt = () => made.watch !== undefined && made.watch === this.#watch;
    const look = () => (isIt() ? this.#restMs() : 0);
    const expire = () => {
      if (!isIt()) return;
      this.#watch = undefined;
      this.#expire();
    };
    // A call inside the library keeps the process alive by itself, and this timer stays when it has ended.
    return (made.watch = new Deadline(allowedMs, look, expire, backend.clock, !canGiveUp));
  }

  /** How much longer the first transfer may take; nothing when there is none. */
  #restMs(): number {
    if (this.count === 0) return 0;
    const elapsedMs = this.#elapsedMs();
    return elapsedMs === undefined ? this.#lanes.allowedMs : this.#lanes.allowedMs - elapsedMs;
  }

  /** How long the first of those that are waiting has been the first. */
  get firstElapsedMs(): number {
    return this.#lanes.now() - this.#sinceMs;
  }

  #elapsedMs(): number | undefined {
    const { backend, canGiveUp } = this.#lanes;
    if (!canGiveUp) return this.firstElapsedMs;
    if (backend.runningTransfer !== undefined) return backend.runningTransfer(this.kind, this.clusterId)?.elapsedMs;
    const hasMoved = this.#moves !== this.#seen;
    this.#seen = this.#moves;
    return hasMoved ? undefined : this.#lanes.allowedMs;
  }

  #expire(): void {
    if (this.count === 0) return;
    const [first] = this.waiting;
    const running = this.#lanes.backend.runningTransfer?.(this.kind, this.clusterId);
    const clusterId = running?.clusterId ?? first?.clusterId ?? this.clusterId;
    const elapsedMs = running?.elapsedMs ?? this.#elapsedMs() ?? this.#lanes.allowedMs;
    this.#lanes.giveUp(this.kind, clusterId, elapsedMs);
    // Where the first one was taken back, those behind it go on.
    if ([...this.waiting].some(({ isGivenUp }) => !isGivenUp)) this.#watch ??= this.#arm();
  }
}

/** More peers than a cluster has. Lanes that are not used are forgotten beyond it. */
const FEW = 1024;

/**
 * Gives transfers up that never come back. One costs its peer: calls with it are refused at once, since any of them would wait
 * for the link that the hung one holds. A push that hangs also costs all pushes of the instance, for which the library has one lock.
 */
export class Lanes {
  readonly backend: Backend;
  /** Whether the backend gives up transfers itself; otherwise the package does not wait for its promises. */
  readonly canGiveUp: boolean;
  readonly #graceMs: number;
  readonly #isWatched: boolean;
  readonly #pulls = new Map<bigint, Lane>();
  readonly #pushes = new Lane(this, 'push', 0n);
  readonly #hangs = new Map<bigint, Hang>();
  /** The push that holds up all pushes. */
  #hungPush: Hang | undefined;
  /** Set in the turn in which transfers are given up: those that the backend takes back then are rejected in it. */
  #justGivenUp: Hang | undefined;
  /** What the backend was inside the library with when it gave it up: by `released` of its exception. */
  readonly #inside = new WeakMap<Promise<unknown>, { readonly hang: Hang } & Pick<Inside, 'returned' | 'noticed'>>();
  /** Whether nothing comes back any more that is to be noticed. */
  #isOver = false;
  #limitMs = 0;
  #fewLanes = FEW;

  /** @param graceMs how long a transfer may take beyond the library's time limit */
  constructor(backend: Backend, graceMs: number) {
    this.backend = backend;
    this.canGiveUp = backend.giveUpTransfers !== undefined;
    this.#isWatched = backend.transfersEnd !== true;
    this.#graceMs = graceMs;
  }

  /** Initialize has succeeded. @param limitMs the library's time limit of a transfer */
  start(limitMs: number): void {
    this.#limitMs = limitMs;
    this.#isOver = false;
  }

  /** Nothing is in flight any more. */
  end(): void {
    for (const hang of this.#hangs.values()) hang.end();
    this.#end();
  }

  /** What is in flight is lost. */
  lose(loss: unknown): void {
    for (const hang of this.#hangs.values()) hang.lose(loss);
    this.#end();
  }

  #end(): void {
    this.#isOver = true;
    this.#pushes.end();
    for (const lane of this.#pulls.values()) lane.end();
    this.#pulls.clear();
    this.#hangs.clear();
    this.#hungPush = undefined;
  }

  get allowedMs(): number {
    return this.#limitMs + this.#graceMs;
  }

  now(): number {
    return (this.backend.clock ?? nodeTimers).now();
  }

  /** @throws LLMException `LLM_TIMEOUT` where the call would wait for one that was given up */
  check(operation: string, clusterId: bigint): void {
    if (this.#hangs.size === 0) return;
    const refusal = this.#refusal(operation, clusterId);
    if (refusal !== undefined) throw refusal;
  }

  /** Where a transfer goes; `undefined` where none needs to be watched. */
  of(operation: string, clusterId: bigint): Lane | undefined {
    if (!this.#isWatched) return undefined;
    return isPush(operation) ? this.#pushes : (this.#pulls.get(clusterId) ?? this.#add(clusterId));
  }

  /** Whether a transfer was rejected because it was given up. */
  givenUp(error: unknown, operation: string, clusterId: bigint): GivenUp | undefined {
    if (error instanceof PartedError) return error.givenUp;
    const released = this.canGiveUp ? releasedOf(error) : undefined;
    if (released === undefined) return undefined;
    const given = this.#inside.get(released);
    if (given === undefined) {
      const behind = this.#hangOf(operation, clusterId) ?? this.#justGivenUp;
      return behind && { hang: behind, inside: undefined };
    }
    const { hang, ...more } = given;
    return { hang, inside: { ...more, sinceMs: hang.sinceMs - hang.elapsedMs, blocks: blocksOf(error) } };
  }

  /**
   * What such a transfer is rejected with.
   * @param released settles when nothing of it can go on
   */
  rejectionOf({ hang }: GivenUp, operation: string, clusterId: bigint, released: Promise<void>): LLMException {
    return givenUp(operation, clusterId, hang, this.now() - hang.sinceMs, released);
  }

  /** The first transfer of a lane has not come back. */
  giveUp(kind: TransferKind, clusterId: bigint, elapsedMs: number): void {
    const hang = this.#hangs.get(clusterId) ?? new Hang(kind, clusterId, elapsedMs, this.now());
    const isNew = hang.hasEnded;
    if (this.canGiveUp) {
      this.#justGivenUp = hang;
      nodeTimers.setImmediate(() => {
        if (this.#justGivenUp === hang) this.#justGivenUp = undefined;
      });
    }
    const isPullInside = this.#giveUpPulls(hang, clusterId);
    const isPushInside = this.#giveUpPushes(hang, clusterId);
    // It waits for the link with the lock of all pushes held, if it is not the one that hangs.
    if (isPushInside) {
      this.#hungPush ??= hang;
      this.#giveUpPushes(hang, undefined);
    }
    if (hang.hasEnded) return;
    this.#hangs.set(clusterId, hang);
    const others = kind === 'pull' ? isPushInside : isPullInside;
    const isOwn = kind === 'pull' ? isPullInside : isPushInside;
    if (!isNew || isOwn || !others) return;
    // The lane that was looked at has only waited for the one of the other kind.
    hang.kind = kind === 'pull' ? 'push' : 'pull';
    const lane = kind === 'pull' ? this.#pushes : this.#pulls.get(clusterId);
    if (!this.canGiveUp && lane !== undefined) hang.elapsedMs = lane.firstElapsedMs;
  }

  /** A transfer of a hang is still in the backend. @returns see {@link Inside.noticed} */
  notice(hang: Hang, returned: Promise<unknown>): Promise<void> {
    hang.enter();
    // What waits for the return itself comes first: calls pass only when it has given back what the transfer has used.
    return returned
      .then(() => undefined)
      .then(() => {
        hang.leave();
        if (hang.hasEnded) this.#recover(hang);
      });
  }

  #recover(hang: Hang): void {
    if (this.#hangs.get(hang.clusterId) === hang) this.#hangs.delete(hang.clusterId);
    if (this.#hungPush === hang) this.#hungPush = undefined;
    hang.end();
  }

  #refusal(operation: string, clusterId: bigint): LLMException | undefined {
    const hang = this.#hangOf(operation, clusterId);
    return hang && refused(operation, clusterId, hang, this.now() - hang.sinceMs, hang.over);
  }

  /** What a call would wait for. */
  #hangOf(operation: string, clusterId: bigint): Hang | undefined {
    return this.#hangs.get(clusterId) ?? (isPush(operation) ? this.#hungPush : undefined);
  }

  /** @returns whether the backend has one of them inside */
  #giveUpPulls(hang: Hang, clusterId: bigint): boolean {
    if (this.canGiveUp) return this.#giveUpInside(hang, 'pull', clusterId);
    return this.#giveUpAll(hang, [...(this.#pulls.get(clusterId)?.waiting ?? [])]);
  }

  /** @returns whether the backend has one of them inside that holds up the others */
  #giveUpPushes(hang: Hang, clusterId: bigint | undefined): boolean {
    if (this.canGiveUp) return this.#giveUpInside(hang, 'push', clusterId);
    const pushes = [...this.#pushes.waiting];
    const meant = pushes.filter((push) => clusterId === undefined || push.clusterId === clusterId);
    this.#giveUpAll(hang, meant);
    // Those that wait behind another one hold nothing up.
    const [first] = pushes;
    return first?.isInside === true && meant.includes(first);
  }

  #giveUpAll(hang: Hang, transfers: readonly Waiting[]): boolean {
    for (const transfer of transfers) transfer.giveUp(hang, this);
    return transfers.some(({ isInside }) => isInside);
  }

  #giveUpInside(hang: Hang, kind: TransferKind, clusterId: bigint | undefined): boolean {
    const released = this.backend.giveUpTransfers?.(kind, clusterId);
    if (released === undefined) return false;
    const returned = this.#comesBack(released);
    this.#inside.set(released, { hang, returned, noticed: this.notice(hang, returned) });
    return true;
  }

  /** With what the call is rejected with, if it is; never where that is because the instance is lost. */
  #comesBack(released: Promise<unknown>): Promise<unknown> {
    return new Promise((resolve) => {
      const back = (error?: unknown) => {
        if (!this.#isOver) resolve(error);
      };
      released.then(() => {
        back();
      }, back);
    });
  }

  #add(clusterId: bigint): Lane {
    if (this.#pulls.size >= this.#fewLanes) this.#forget();
    const lane = new Lane(this, 'pull', clusterId);
    this.#pulls.set(clusterId, lane);
    return lane;
  }

  #forget(): void {
    for (const [id, lane] of this.#pulls) {
      if (!lane.isIdle) continue;
      lane.end();
      this.#pulls.delete(id);
    }
    this.#fewLanes = Math.max(FEW, 2 * this.#pulls.size);
  }
}

function isPush(operation: string): boolean {
  return operation === 'pushBlocks' || operation === 'pushCache';
}

/** What the exception of a transfer carries that the backend has given up inside the library. */
function blocksOf(error: unknown): BigUint64Array | undefined {
  const isObject = typeof error === 'object' && error !== null;
  return isObject && 'blocks' in error && types.isBigUint64Array(error.blocks) ? error.blocks : undefined;
}

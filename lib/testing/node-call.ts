import type { ClusterInfo, KvCacheExtParam } from '../backend/backend';
import type { ClusterWork, ObservedCall, Operation } from '../backend/mock/call-observer';
import type { Lane } from '../backend/mock/lane';
import type { MockCall } from '../backend/mock/mock-call';
import { failed, Refusal } from '../backend/mock/refusal';
import { settle } from '../backend/mock/settle';
import { waitFor } from '../backend/mock/within';
import type { CacheEntry } from '../backend/mock/cache-table';
import { byteLengthOf } from '../backend/mock/transfer';
import type { MovedBytes } from '../backend/mock/transfer';
import { LLMStatusCode } from '../status';
import type { LoggedCall } from './call-page';
import { copyOf, corrupt, piecesOf } from './corruption';
import { describeFault, TRANSFERS } from './fault';
import type { CheckedFault } from './fault';
import type { LaneFinder, NodeCalls } from './node-calls';

const COPIES: ReadonlySet<Operation> = new Set(['read', 'write', 'copyCache']);
const NO_FAULTS: readonly CheckedFault[] = [];
const NO_LANES: readonly Lane[] = [];

/**
 * One call of an instance. It is made once and serves one call after the other: most are over before the next one
 * begins, and an object for each of them would be a noticeable part of a small transfer.
 */
export class NodeCall implements ObservedCall, LoggedCall {
  readonly #calls: NodeCalls;
  index = 0;
  operation: Operation = 'init';
  startMs = 0;
  bytes = 0;
  peer: bigint | undefined;
  cacheId: bigint | undefined;
  localCacheId: bigint | undefined;
  ext: KvCacheExtParam | undefined;
  srcBlocks: BigUint64Array | undefined;
  dstBlocks: BigUint64Array | undefined;
  details: Readonly<Record<string, unknown>> | undefined;
  faults: readonly CheckedFault[] = NO_FAULTS;
  /** What strict mode says against it, asked when its turn has come. */
  check: (() => Refusal | undefined | Promise<Refusal | undefined>) | undefined;
  /** Whether it has begun and not ended. */
  isBusy = false;
  /** Whether a fault delays it, so that it is under way until the delay has passed. */
  isDelayed = false;
  /** Whether another process is asked which fault hits it: it is under way until then too. */
  isAsking = false;
  /** Tensors that it may still move. */
  #allowance = Infinity;
  #cut: Refusal | undefined;
  /** What it has moved, where a fault is to change it. */
  #pieces: Uint8Array[] | undefined;
  /** Bytes to be changed of what goes to another process. */
  #toCorrupt = 0;
  /** Lanes that a fault holds in its name. */
  #held: readonly Lane[] = NO_LANES;
  /** What ends its waits. */
  readonly #waits = new Set<(error: Error) => void>();
  /** What ends what hangs in its name. */
  readonly #hangs = new Set<(error: Error) => void>();
  #interrupted: Error | undefined;
  /** The call as the instance knows it. */
  #call: MockCall | undefined;

  constructor(calls: NodeCalls) {
    this.#calls = calls;
  }

  get node(): bigint {
    return this.#calls.node;
  }

  run<T>(call: MockCall, work: (call: MockCall) => T | Promise<T>): T | Promise<T> {
    if (!this.#calls.isQuiet || this.check !== undefined) return this.#interruptible(this.#follow(call, work));
    const result = work(call);
    return result instanceof Promise ? this.#interruptible(result) : result;
  }

  async onClusters(clusters: readonly ClusterInfo[], work: ClusterWork): Promise<(Refusal | undefined)[]> {
    const hitting = this.#calls.faults.hitClusters(this.#target(), clusters);
    const hits = hitting instanceof Promise ? await hitting : hitting;
    if (this.#interrupted !== undefined) throw this.#interrupted;
    const faults = new Set(hits.filter((hit) => hit !== undefined));
    if (faults.size === 0) return work(clusters);
    this.faults = [...faults];
    const sound = clusters.filter((_, i) => hits[i] === undefined);
    const outcomes = new Map<ClusterInfo, Refusal | undefined>();
    const take = async (some: readonly ClusterInfo[]): Promise<void> => {
      const results = await work(some);
      for (const [i, cluster] of some.entries()) outcomes.set(cluster, results[i]);
    };
    const ends = await Promise.allSettled([
      ...(sound.length === 0 ? [] : [take(sound)]),
      ...clusters.flatMap((cluster, i) => {
        const fault = hits[i];
        if (fault === undefined) return [];
        const settled = settle(() => this.#under(fault, () => take([cluster])));
        const told = settled.then((refusal) => {
          if (refusal !== undefined) outcomes.set(cluster, refusal);
        });
        return [told];
      }),
    ]);
    // An error of the test's own ends the call, when what it does about the other clusters is done.
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
    return clusters.map((cluster) => outcomes.get(cluster));
  }

  holds(lane: Lane): boolean {
    return this.#held !== NO_LANES && this.#held.includes(lane);
  }

  admit(tensors: number): number {
    // It was ended while it waited for its turn: nothing is done in its name any more.
    if (this.#interrupted !== undefined) return 0;
    const admitted = Math.min(tensors, this.#allowance);
    this.#allowance -= admitted;
    return admitted;
  }

  cutOff(): Refusal {
    this.#cut ??= failed('cut off by a fault');
    return this.#cut;
  }

  moved(moved: MovedBytes): void {
    this.bytes += byteLengthOf(moved.spans) * moved.count;
    if (this.#pieces !== undefined) this.#pieces = this.#pieces.concat(piecesOf(moved));
  }

  outgoing(bytes: MovedBytes): CacheEntry {
    if (this.#toCorrupt === 0) return bytes.cache;
    const cache = copyOf(bytes);
    const pieces = piecesOf({ ...bytes, cache });
    // The layers of a push go one by one: what does not fit the first is for the next.
    const count = Math.min(this.#toCorrupt, byteLengthOf(bytes.spans) * bytes.count);
    this.#toCorrupt -= count;
    corrupt(pieces, count, this.#calls.random);
    return cache;
  }

  sent(count: number): void {
    this.bytes += count;
  }

  succeeded(result: unknown): void {
    if (this.operation === 'registerCache') this.cacheId = result as bigint;
    else if (this.details !== undefined && COPIES.has(this.operation)) this.bytes = Number(this.details.byteLength);
    this.#end(undefined);
  }

  failed(error: unknown): void {
    this.#end(error);
  }

  withdrawn(): void {
    this.isBusy = false;
    this.#forget();
  }

  /** Ends it from outside: its process has died, or what held it up has gone. */
  interrupt(error: Error): void {
    this.giveUp(error);
    for (const end of this.#hangs) end(error);
  }

  /** Its caller waits no longer. What hangs in its name goes on, and holds what it holds. */
  giveUp(error: Error): void {
    this.#interrupted = error;
    for (const end of this.#waits) end(error);
  }

  #end(error: unknown): void {
    this.isBusy = false;
    this.#calls.ended(this, error);
    this.#forget();
  }

  #forget(): void {
    // An interrupted one may still be used by work that was left behind.
    if (this.#interrupted !== undefined) this.#calls.discard(this);
    else this.#reset();
  }

  #reset(): void {
    this.bytes = 0;
    this.peer = undefined;
    this.cacheId = undefined;
    this.localCacheId = undefined;
    this.ext = undefined;
    this.srcBlocks = undefined;
    this.dstBlocks = undefined;
    this.details = undefined;
    this.faults = NO_FAULTS;
    this.check = undefined;
    this.isDelayed = false;
    this.isAsking = false;
    this.#allowance = Infinity;
    this.#cut = undefined;
    this.#pieces = undefined;
    this.#toCorrupt = 0;
    this.#held = NO_LANES;
    this.#call = undefined;
    if (this.#waits.size > 0) this.#waits.clear();
    this.#calls.giveBack(this);
  }

  #interruptible<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#interrupted !== undefined) reject(this.#interrupted);
      this.#waits.add(reject);
      const over = <V>(settle: (value: V) => void, value: V): void => {
        this.#waits.delete(reject);
        settle(value);
      };
      promise.then(
        (value) => {
          over(resolve, value);
        },
        (error: unknown) => {
          over(reject, error);
        },
      );
    });
  }

  /** The course of a call where something may be in its way. */
  async #follow<T>(call: MockCall, work: (call: MockCall) => T | Promise<T>): Promise<T> {
    this.#calls.checkAlive(this.operation);
    if (this.#calls.isDead) return work(call);
    this.#call = call;
    const isOnClusters = this.operation === 'linkClusters' || this.operation === 'unlinkClusters';
    const hit = isOnClusters ? undefined : this.#calls.faults.hit(this.#target());
    this.isAsking = hit instanceof Promise;
    const fault = hit instanceof Promise ? await hit : hit;
    this.isAsking = false;
    // It may have been ended while another process was asked.
    if (this.#interrupted !== undefined) throw this.#interrupted;
    call.check();
    if (fault !== undefined) {
      this.faults = [fault];
      this.#calls.record(this);
    }
    const all = async (): Promise<T> => {
      const checking = this.check?.();
      const broken = checking instanceof Promise ? await checking : checking;
      if (this.#interrupted !== undefined) throw this.#interrupted;
      // A process that ends is not held up by a rule.
      if (broken !== undefined && this.operation !== 'finalize') throw broken;
      const result = await work(call);
      if (broken !== undefined) throw broken;
      return result;
    };
    return fault === undefined ? all() : this.#under(fault, all);
  }

  #under<T>(fault: CheckedFault, work: () => Promise<T>): Promise<T> {
    this.isDelayed = fault.delayMs > 0;
    const course = () => this.#takeCourse(fault, work);
    const isHolding = (fault.hang || fault.delayMs > 0) && fault.hold === 'link' && TRANSFERS.has(this.operation);
    const { operation, peer } = this;
    const call = this.#call;
    return isHolding && call !== undefined
      ? this.#holding(call, this.#calls.lanesOf(operation, peer), course)
      : course();
  }

  /** Keeps lanes, one after the other, while the work is done that would take them by itself otherwise. */
  async #holding<T>(call: MockCall, [find, ...rest]: readonly LaneFinder[], work: () => Promise<T>): Promise<T> {
    if (find === undefined) return work();
    const finding = find(call);
    const lane = finding instanceof Promise ? await finding : finding;
    if (lane === undefined) return this.#holding(call, rest, work);
    return new Promise((resolve, reject) => {
      const course = async (): Promise<T> => {
        if (this.#interrupted !== undefined) throw this.#interrupted;
        this.#held = [...this.#held, lane];
        return this.#holding(call, rest, work);
      };
      const holding = lane.run(() => course().then(resolve, reject), call);
      // It fails where the call was withdrawn while it waited.
      void Promise.resolve(holding).catch(reject);
    });
  }

  async #takeCourse<T>(fault: CheckedFault, work: () => Promise<T>): Promise<T> {
    // What it does now it does in the library.
    this.#call?.begin();
    if (fault.partialLayers !== undefined) await this.#moveSome(fault.partialLayers, work);
    if (fault.delayMs > 0) await this.#delay(fault.delayMs);
    if (fault.hang) await this.#hang(fault);
    if (fault.throwError !== undefined) throw fault.throwError;
    if (fault.status !== undefined || fault.partialLayers !== undefined) {
      throw new Refusal(fault.status ?? LLMStatusCode.LLM_FAILED, `injected fault: ${describeFault(fault)}`);
    }
    return fault.corrupt > 0 ? this.#corrupted(fault.corrupt, work) : work();
  }

  /** Until the fault is removed, or the process has died. */
  async #hang({ removal }: CheckedFault): Promise<void> {
    let callOff = (): void => undefined;
    let end = (): void => undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        end = () => this.#hangs.delete(reject);
        this.#hangs.add(reject);
        callOff = removal.after(resolve);
      });
    } finally {
      end();
      callOff();
    }
    // Its caller has the error of the one that gave it up.
    if (this.#interrupted !== undefined) throw this.#interrupted;
  }

  async #delay(ms: number): Promise<void> {
    const { passed, callOff } = waitFor(this.#calls.clock, ms);
    try {
      await this.#interruptible(passed);
    } finally {
      // What was interrupted is waited for no longer: a timer would keep the process alive.
      callOff();
    }
    this.isDelayed = false;
  }

  /** Does the work up to a number of layers; what fails before that fails the call. */
  async #moveSome(layers: number, work: () => Promise<unknown>): Promise<void> {
    this.#allowance = layers * (this.ext?.tensorNumPerLayer ?? 1);
    try {
      await work();
    } catch (error) {
      if (error !== this.#cut) throw error;
    }
  }

  async #corrupted<T>(count: number, work: () => Promise<T>): Promise<T> {
    this.#pieces = [];
    this.#toCorrupt = count;
    const result = await work();
    const pieces = [...this.#pieces];
    if (result instanceof Uint8Array) pieces.push(result);
    pieces.push(...this.#calls.written(this.operation, this.details));
    corrupt(pieces, count, this.#calls.random);
    return result;
  }

  #target() {
    const { operation, node, peer, cacheId } = this;
    return { operation, node, peer: TRANSFERS.has(operation) ? peer : undefined, cacheId };
  }
}

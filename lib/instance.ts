import { hexAddress } from './address';
import type { Backend, BackendOptions, ClusterInfo } from './backend/backend';
import type { BlockLists } from './block-lists';
import type { CallLimits } from './call-options';
import { ControlQueue } from './control-queue';
import { LLMException } from './exception';
import { warnOfShortHangTimeout } from './hang-timeout';
import { hold, letGo } from './held-instances';
import { Lanes } from './lanes';
import type { GivenUp, Lane } from './lanes';
import { newLife } from './life';
import { limited } from './limited-call';
import type { CallInfo, CallOwner, LimitedCall } from './limited-call';
import { LinkLives } from './link-lives';
import { endsLink, LinkEnds } from './link-ends';
import { Links } from './links';
import { AllocatedRegion } from './memory';
import { nodeTimers } from './node-timers';
import { waitTimeOf } from './option-text/options';
import type { OverLink } from './over-link';
import { Peers } from './peers';
import { isHost, Placement } from './placement';
import { Regions } from './regions';
import { alsoAtCaller, atCaller, failureOf } from './rejection';
import type { Registration } from './registrations';
import { Registrations } from './registrations';
import { RELEASED, releasedOf } from './released';
import { RowsInFlight } from './rows-in-flight';
import type { Access, EarlyCall } from './rows-in-flight';
import { shortList } from './short-list';
import { callSite } from './stack';
import type { CallSite } from './stack';
import { LLMStatusCode } from './status';
import { stranded } from './unresponsive';
import { StrandedError, Uses } from './uses';
import { Watchdog } from './watchdog';
import type { WatchedCall } from './watchdog';

/** What an instance is made with. */
export interface InstanceOptions {
  readonly clusterId: bigint;
  readonly backend: Backend;
  readonly guards: boolean;
  readonly requireLayout: boolean;
  readonly requireLife: boolean;
  readonly hangTimeoutMs: number;
  /** Whether the backend is the user's: what it rejects with reaches the caller as it is. */
  readonly isForeign: boolean;
}

/** The transfers, as their methods are called. */
export type TransferOperation = 'pullCache' | 'pullBlocks' | 'pushCache' | 'pushBlocks';

interface TransferInfo extends CallInfo {
  readonly operation: TransferOperation;
  readonly clusterId: bigint;
}

/** What a transfer moves on this side. */
interface MovedMemory {
  readonly local: Registration;
  readonly moved: BlockLists | number;
}

/** A call that was rejected and runs on in the library. */
interface RunningOn extends EarlyCall {
  giveUp(loss: Error): void;
  /** Of one that was given up, the same call where its options had ended it before: that one holds its memory. */
  readonly early?: EarlyCall | undefined;
}

/** Calls the backend for a transfer, with the local cache as far as it is registered, and the call where its options end it. */
type TransferWork = (local: Registration | undefined, call: LimitedCall | undefined) => Promise<void>;

/**
 * The life of one instance, shared by everything that was made from it: what is initialised, what is in flight, what
 * is linked, registered and allocated.
 *
 * `Finalize` of the library neither waits for calls that run nor survives them, so calls are counted here: from the
 * moment that `finalize()` is called new ones are refused, and those in flight end first. Control calls run one after
 * the other, transfers at any time.
 */
export class Instance {
  readonly clusterId: bigint;
  readonly backend: Backend;
  readonly guards: boolean;
  readonly requireLayout: boolean;
  readonly requireLife: boolean;
  readonly registrations = new Registrations();
  readonly regions = new Regions();
  readonly links = new Links();
  readonly lives = new LinkLives();
  readonly peers = new Peers();
  readonly linkEnds: LinkEnds;
  readonly #isForeign: boolean;
  readonly #hangTimeoutMs: number;
  readonly #watchdog: Watchdog;
  readonly #lanes: Lanes;
  readonly #control = new ControlQueue();
  readonly #calls = new Uses();
  #initialized = false;
  #life = '';
  /** Calls of finalize that have not ended: from the first one on no other call starts. */
  #finalizing = 0;
  /** The finalize after which no init has been called. */
  #lastFinalize: Promise<void> | undefined;
  readonly #owner: CallOwner;
  /** Calls that were rejected and run on in the library. */
  readonly #runningOn = new Set<RunningOn>();
  readonly #rows: RowsInFlight;
  /** The library's time limit of a transfer. */
  #transferTimeoutMs = 0;
  #hasUsedHixl = false;

  constructor({ clusterId, backend, guards, requireLayout, requireLife, hangTimeoutMs, isForeign }: InstanceOptions) {
    this.clusterId = clusterId;
    this.backend = backend;
    this.guards = guards;
    this.requireLayout = requireLayout;
    this.requireLife = requireLife;
    this.#hangTimeoutMs = hangTimeoutMs;
    this.#isForeign = isForeign;
    this.#lanes = new Lanes(backend, hangTimeoutMs);
    this.#watchdog = new Watchdog(backend, clusterId, hangTimeoutMs, (loss) => {
      this.#lanes.lose(loss);
      abandoned.unregister(this);
      letGo(this);
      for (const call of this.#runningOn) call.giveUp(loss);
      this.#runningOn.clear();
      this.linkEnds.giveUp(loss);
    });
    const now = () => (backend.clock ?? nodeTimers).now();
    this.#rows = new RowsInFlight(now);
    this.linkEnds = new LinkEnds(backend);
    this.#owner = {
      clock: backend.clock,
      now,
      runsOn: (call) => {
        this.#runningOn.add(call);
        if (call.accesses !== undefined) this.#rows.hold(call, call.accesses());
      },
      hasEnded: (call, error) => this.#hasEnded(call, error),
    };
  }

  get isInitialized(): boolean {
    return this.#initialized;
  }

  /** Of an `init` that succeeded and has not been finalized; otherwise empty. */
  get life(): string {
    return this.#life;
  }

  get isFinalizing(): boolean {
    return this.#finalizing > 0;
  }

  /** Whether a call hangs in the library, so that nothing can be done with the instance any more. */
  get isLost(): boolean {
    return this.#watchdog.isLost;
  }

  /** In a word, for logs. */
  get state(): 'lost' | 'finalizing' | 'initialised' | 'not initialised' {
    if (this.isLost) return 'lost';
    if (this.isFinalizing) return 'finalizing';
    return this.#initialized ? 'initialised' : 'not initialised';
  }

  /** @param check called when its turn has come, unless the instance is initialised then and the library does nothing */
  init(options: BackendOptions, check: () => void, limits?: CallLimits): Promise<void> {
    return this.#within({ operation: 'init' }, limits, async (call) => {
      const site = callSite();
      this.#lastFinalize = undefined;
      try {
        // After a finalize that is under way: the library's object can be initialised again.
        await this.inTurn('init', () => this.#start(options, check, call), call);
      } catch (error) {
        throw this.#located(error, site);
      }
    });
  }

  /** One that its caller does not wait for any more goes on: from the call on, every other one is refused. */
  finalize(limits?: CallLimits): Promise<void> {
    return this.#within({ operation: 'finalize' }, limits, async (call) => {
      call?.begin();
      await this.#finalize();
    });
  }

  async #finalize(): Promise<void> {
    const site = callSite();
    this.#watchdog.check('finalize');
    const last = this.#lastFinalize;
    if (last === undefined && !this.#initialized && this.#control.isEmpty) return;
    try {
      await (last ?? this.#beginFinalize());
    } catch (error) {
      throw last === undefined ? this.#located(error, site) : this.#alsoLocated(error, site);
    }
  }

  /** Finalizes, and leaves it at that where the instance is lost and the call that lost it has its error. */
  async dispose(): Promise<void> {
    try {
      if (!this.isLost) await this.finalize();
    } catch (error) {
      if (!this.isLost || this.#watchdog.hasToldBy(error)) throw error;
    }
  }

  /**
   * Runs a call of the instance; `finalize()` waits for it, and comes before it when it was called before it.
   * @param operation the method that the user has called: its failures have this name, whatever failed within
   * @param work is given the call where its options may end it early
   * @param cacheId the cache that it works on
   */
  run<T>(
    operation: string,
    work: (call: LimitedCall | undefined) => Promise<T>,
    cacheId?: bigint,
    limits?: CallLimits,
  ): Promise<T> {
    return this.#within({ operation, cacheId }, limits, (call) => this.#run(operation, work, cacheId, call));
  }

  async #run<T>(
    operation: string,
    work: (call: LimitedCall | undefined) => Promise<T>,
    cacheId: bigint | undefined,
    call: LimitedCall | undefined,
  ): Promise<T> {
    this.#checkAlive(operation);
    const site = callSite();
    try {
      return await this.#calls.hold(work(call));
    } catch (error) {
      throw this.#located(this.#named(error, operation, cacheId), site);
    }
  }

  /**
   * Runs a transfer: after the unlinks of its peer that were called before it, and before those that are called later.
   * @param cacheId the local cache, which is not unregistered before the transfer has ended
   * @param moved the row of that cache, or the lists of blocks: they are called when the transfer has to wait, and with what it was
   *   rejected with
   */
  transfer(
    over: OverLink,
    cacheId: bigint,
    work: TransferWork,
    moved: BlockLists | number,
    limits?: CallLimits,
  ): Promise<void> {
    if (limits === undefined) return this.#handedOver(over, cacheId, work, moved);
    if (typeof moved === 'object') moved.keep();
    return this.#within(infoOf(over, cacheId), limits, (call) => this.#handedOver(over, cacheId, work, moved, call));
  }

  /** One that is refused here takes a turn, as one that the library refuses: a loop that repeats it starves nothing. */
  #handedOver(
    over: OverLink,
    cacheId: bigint,
    work: TransferWork,
    moved: BlockLists | number,
    call?: LimitedCall,
  ): Promise<void> {
    try {
      return this.#transfer(over, cacheId, work, moved, call);
    } catch (error) {
      // These take their turn at the method.
      if (this.backend.turns !== undefined) throw error;
      return refusedInNextTurn(error);
    }
  }

  #transfer(
    over: OverLink,
    cacheId: bigint,
    work: TransferWork,
    moved: BlockLists | number,
    call?: LimitedCall,
  ): Promise<void> {
    const { operation } = over;
    const { clusterId } = over.key;
    this.#checkAlive(operation);
    this.#lanes.check(operation, clusterId);
    const local = this.registrations.get(cacheId);
    if (local === undefined && this.guards && this.registrations.isWithdrawn(cacheId)) {
      throw unregistered(operation, cacheId);
    }
    const cache = local?.uses;
    const peer = this.peers.of(clusterId);
    const { opens } = peer;
    let ended: Promise<void>;
    if (opens === undefined) {
      const answer = this.#submit(work, local, moved, call);
      const lane = this.#lanes.of(operation, clusterId);
      const passed = lane === undefined ? answer : lane.enter(over, answer);
      ended = this.#ended(passed, over, cacheId, peer, cache, local, lane, moved, call);
      // What lowers the counts waits already: no function may be entered from here on, see `Uses.count`.
      if (lane !== undefined && this.#lanes.canGiveUp) lane.count += 1;
    } else {
      if (typeof moved === 'object') moved.keep();
      const opened = call === undefined ? opens : call.orEnded(opens);
      ended = this.#afterUnlink(opened, over, cacheId, peer, cache, local, work, moved, call);
    }
    this.#calls.count += 1;
    peer.count += 1;
    if (cache !== undefined) cache.count += 1;
    return ended;
  }

  /** Hands a transfer to the backend. What is thrown at once has the caller in its stack already. */
  #submit(
    work: TransferWork,
    local: Registration | undefined,
    moved: BlockLists | number,
    call: LimitedCall | undefined,
  ): Promise<void> {
    try {
      return call === undefined ? work(local, call) : this.handOver(call, () => work(local, call));
    } catch (error) {
      throw typeof moved === 'object' ? moved.explain(error) : error;
    }
  }

  /** Makes a transfer that an unlink is ahead of. */
  async #afterUnlink(
    opened: Promise<void>,
    over: OverLink,
    cacheId: bigint,
    peer: Uses,
    cache: Uses | undefined,
    local: Registration | undefined,
    work: TransferWork,
    moved: BlockLists | number,
    call: LimitedCall | undefined,
  ): Promise<void> {
    const { operation } = over;
    const { clusterId } = over.key;
    let passed: Promise<void>;
    let lane: Lane | undefined;
    try {
      await opened;
      this.#watchdog.check(operation);
      this.#lanes.check(operation, clusterId);
      const answer = this.#submit(work, local, moved, call);
      lane = this.#lanes.of(operation, clusterId);
      passed = lane === undefined ? answer : lane.enter(over, answer);
    } catch (error) {
      cache?.leave();
      peer.leave();
      this.#calls.leave();
      throw error;
    }
    if (lane !== undefined && this.#lanes.canGiveUp) lane.count += 1;
    await this.#ended(passed, over, cacheId, peer, cache, local, lane, moved, call);
  }

  /** Waits for a transfer that has begun, and leaves what it uses. Arguments, because an object would cost each pull more. */
  async #ended(
    passed: Promise<void>,
    over: OverLink,
    cacheId: bigint,
    peer: Uses,
    cache: Uses | undefined,
    local: Registration | undefined,
    lane: Lane | undefined,
    moved: BlockLists | number,
    call: LimitedCall | undefined,
  ): Promise<void> {
    let runsOn = false;
    try {
      await passed;
      over.succeed();
    } catch (failure) {
      const error = over.fail(failure);
      const givenUp = this.#lanes.givenUp(error, over.operation, over.key.clusterId);
      if (givenUp !== undefined) {
        runsOn = givenUp.inside !== undefined;
        const uses = cache === undefined ? [peer] : [cache, peer];
        // The rows of one that its caller has stopped are held already.
        const early = call?.isEnded === true ? call : undefined;
        const memory = !this.guards || local === undefined || early !== undefined ? undefined : { local, moved };
        throw this.#located(this.#giveUp(givenUp, infoOf(over, cacheId), uses, memory, early));
      }
      throw this.#located(typeof moved === 'object' ? moved.explain(error) : error);
    } finally {
      lane?.leave();
      if (!runsOn) {
        cache?.leave();
        peer.leave();
        this.#calls.leave();
      }
    }
  }

  /**
   * A transfer that was given up uses what it uses until it has come back; only `finalize()` waits for that.
   * @returns what its caller gets
   */
  #giveUp(
    givenUp: GivenUp,
    info: TransferInfo,
    uses: readonly Uses[],
    memory: MovedMemory | undefined,
    early: EarlyCall | undefined,
  ): LLMException {
    const { operation, clusterId } = info;
    const { hang, inside } = givenUp;
    if (inside === undefined) return this.#lanes.rejectionOf(givenUp, operation, clusterId, RELEASED);
    const { sinceMs: since, returned, noticed, blocks } = inside;
    let release = (): void => undefined;
    let giveUp: RunningOn['giveUp'] = release;
    const released = new Promise<void>((resolve, reject) => {
      release = resolve;
      giveUp = reject;
    });
    // Nothing has to be done with it.
    released.catch(() => undefined);
    const exception = this.#lanes.rejectionOf(givenUp, operation, clusterId, released);
    const call: RunningOn = { info, since, isGivenUp: true, giveUp, early };
    this.#runningOn.add(call);
    if (memory !== undefined) this.#rows.hold(call, [accessOf(operation, memory, blocks)]);
    for (const each of uses) each.strand(exception, hang.over);
    void returned.then((error) => {
      for (const each of uses) each.comeBack(exception);
      this.#calls.leave();
      const rest = this.#hasEnded(call, error);
      void Promise.all([rest, noticed]).then(release, giveUp);
    });
    return exception;
  }

  /** Whether a call has to say what it reads and writes; see {@link access}. */
  noticesAccess(call: LimitedCall | undefined): boolean {
    return this.guards && (call !== undefined || !this.#rows.isEmpty);
  }

  /** Refuses memory that a call which was rejected early still uses, and keeps in mind what this one uses. */
  access(operation: string, call: LimitedCall | undefined, accesses: () => readonly Access[]): void {
    if (!this.#rows.isEmpty) this.#rows.check(operation, accesses());
    if (call !== undefined) call.accesses = accesses;
  }

  /**
   * A call that was rejected early has ended. Where it was given up meanwhile, it has to come back; where it has ended its link,
   * that has to be unlinked as well.
   * @returns what its end waits for
   */
  #hasEnded(call: RunningOn, error: unknown): Promise<void> | undefined {
    const { clusterId } = call.info;
    const release = () => {
      this.#runningOn.delete(call);
      this.#rows.release(call);
    };
    let rest = releasedOf(error);
    if (rest === undefined && clusterId !== undefined && endsLink(error)) {
      const link = this.linkEnds.of(clusterId);
      for (const each of [call, call.early]) if (each !== undefined) each.endedLink = { clusterId, error, link };
      rest = link.ended;
    }
    if (rest === undefined) {
      release();
      return undefined;
    }
    return rest.then(release);
  }

  /**
   * Makes a call of the backend, or one step of a call. As long as it waits in a queue of the backend it can be withdrawn.
   * @param make makes at most one call of the backend before it returns
   */
  handOver<T>(call: LimitedCall | undefined, make: () => Promise<T>): Promise<T> {
    if (call === undefined) return make();
    call.begin();
    const { backend } = this;
    const before = backend.lastCall?.();
    const answer = make();
    const made = backend.lastCall?.();
    // Where the numbers are the same, no call was made, and the number is that of another one.
    if (made !== undefined && made !== before) call.canBeTakenBack(() => backend.withdraw?.(made) ?? false);
    return answer;
  }

  /**
   * Runs a copy within local caches, which are not unregistered before it has ended.
   * @param work is given what it calls after each step, so that what waits for it knows that it goes on; it makes each step
   *   with {@link handOver}
   */
  copy<T>(
    operation: string,
    cacheIds: readonly [bigint, bigint?],
    work: (moved: () => void, call: LimitedCall | undefined) => Promise<T>,
    limits?: CallLimits,
  ): Promise<T> {
    return this.run(
      operation,
      async (call) => {
        const [first, second] = cacheIds.map((cacheId) => {
          const registration = this.registrations.get(cacheId ?? 0n);
          if (registration === undefined) throw unregistered(operation, cacheId ?? 0n);
          return registration.uses;
        });
        const moved = () => {
          first?.move();
          second?.move();
          this.#calls.move();
          // One that was rejected does not go on to the next step.
          call?.check();
        };
        const answer = work(moved, call);
        const held = first === undefined ? answer : first.hold(answer);
        return await (second === undefined ? held : second.hold(held));
      },
      cacheIds[0],
      limits,
    );
  }

  /** Runs a part of a call when all control calls have ended that were made before it. */
  inTurn<T>(operation: string, work: () => Promise<T>, call?: LimitedCall): Promise<T> {
    return this.#control.run(async () => {
      call?.check();
      this.#watchdog.check(operation);
      return await work();
    });
  }

  /**
   * @throws LLMException `LLM_TIMEOUT` where a transfer with one of the clusters was given up and has not come back: nothing is sent
   *   behind it
   */
  checkResponsive(operation: string, clusters: readonly ClusterInfo[]): void {
    for (const { remoteClusterId } of clusters) this.#lanes.check(operation, remoteClusterId);
  }

  /** Makes a call of the library that may never return. */
  watched<T>(about: WatchedCall, work: () => Promise<T>, call?: LimitedCall): Promise<T> {
    call?.begin();
    return this.#watchdog.call(about, work);
  }

  /** The library's time limit of a transfer. */
  get transferTimeoutMs(): number {
    return this.#transferTimeoutMs;
  }

  /** Makes a call of the library's tables: it may wait for a transfer that has them locked, which has its own limit. */
  watchedOnTables<T>(operation: WatchedCall['operation'], work: () => Promise<T>): Promise<T> {
    return this.#watchdog.call({ operation, timeoutMs: this.#transferTimeoutMs, isOfTables: true }, work);
  }

  /** Waits for the calls that use something; see {@link Watchdog.idle}. */
  async idle(operation: string, uses: Uses, calls: string, call?: LimitedCall): Promise<void> {
    const wait = () => (call === undefined ? uses.whenIdle() : call.orEnded(uses.whenIdle()));
    try {
      await this.#watchdog.idle(operation, { uses, wait, calls, timeoutMs: this.#transferTimeoutMs });
    } catch (error) {
      throw error instanceof StrandedError ? stranded(operation, calls, error) : error;
    }
  }

  #within<T>(
    info: CallInfo,
    limits: CallLimits | undefined,
    work: (call: LimitedCall | undefined) => Promise<T>,
  ): Promise<T> {
    return limits === undefined ? work(undefined) : limited(limits, info, this.#owner, work);
  }

  async allocate(byteLength: bigint, placement: number, call?: LimitedCall): Promise<AllocatedRegion> {
    const address = await this.handOver(call, () => this.backend.malloc(byteLength, placement));
    const where = isHost(placement) ? Placement.HOST : Placement.DEVICE;
    const region = new AllocatedRegion(this, address, byteLength, where);
    this.regions.add(region);
    return region;
  }

  /** What may be linked stays until `finalize()`, whatever refers to it: a peer does that the collector does not see. */
  holdWhileInUse(): void {
    const isGone = !this.#initialized || this.isLost || this.backend.isDead === true;
    if (!isGone && this.links.mayExist) hold(this);
    else letGo(this);
  }

  async #start(options: BackendOptions, check: () => void, call: LimitedCall | undefined): Promise<void> {
    if (!this.#initialized) check();
    await this.watched({ operation: 'init' }, () => this.backend.initialize(options), call);
    if (this.#initialized) return;
    const { backend, clusterId, regions } = this;
    const hangTimeoutMs = this.#hangTimeoutMs;
    abandoned.register(this, { backend, clusterId, hangTimeoutMs, addresses: regions.addresses }, this);
    this.links.start(options);
    this.#transferTimeoutMs = waitTimeOf(options);
    this.#lanes.start(this.#transferTimeoutMs);
    this.#life = newLife();
    this.#initialized = true;
    this.holdWhileInUse();
    if (!this.links.isHixl || this.#hasUsedHixl) return;
    this.#hasUsedHixl = true;
    warnOfShortHangTimeout(clusterId, hangTimeoutMs);
  }

  #beginFinalize(): Promise<void> {
    const finalize = async () => {
      try {
        await this.inTurn('finalize', () => this.#end());
      } catch (error) {
        throw this.#named(error, 'finalize');
      } finally {
        this.#finalizing -= 1;
        if (this.#finalizing === 0) this.#lastFinalize = undefined;
      }
    };
    const running = finalize();
    this.#finalizing += 1;
    this.#lastFinalize = running;
    return running;
  }

  async #end(): Promise<void> {
    try {
      await this.idle('finalize', this.#calls, 'the calls in flight');
      if (!this.#initialized) return;
      try {
        await this.watched({ operation: 'finalize' }, () => this.backend.finalize());
      } catch (error) {
        // A rule of a test kit that was broken is reported after the end.
        if (!this.isLost && this.backend.hasEnded === true) await this.#freeRegions();
        throw error;
      }
      await this.#freeRegions();
    } finally {
      // How far a lost one got is not known. One that was refused can be finalized later.
      if (!this.isLost && this.backend.wasBarred !== true) this.#forget();
    }
  }

  #forget(): void {
    abandoned.unregister(this);
    this.registrations.clear();
    this.links.noneLeft();
    this.#lanes.end();
    this.linkEnds.unlinkAll();
    this.lives.end();
    this.#life = '';
    this.#initialized = false;
    letGo(this);
  }

  /** Device memory does not outlive the device's reset, so what is left ends here, and not in silence. */
  async #freeRegions(): Promise<void> {
    const regions = this.regions.all();
    const left = regions.filter((region) => !AllocatedRegion.isFreed(region));
    for (const region of regions) await region.giveBack();
    if (left.length === 0 || this.backend.isDead === true) return;
    const bytes = left.reduce((sum, region) => sum + region.byteLength, 0n);
    const places = left.map(({ address, byteLength }) => `${hexAddress(address)} (${byteLength} bytes)`);
    process.emitWarning(
      `finalize() of cluster ${this.clusterId} freed ${left.length} memory regions of ${bytes} bytes that were still ` +
        `allocated: ${shortList(places, 8).join(', ')}. Call deallocateCache() or free() first, or use "await using".`,
      'LLMDataDistMemoryWarning',
    );
  }

  #named(error: unknown, operation: string, cacheId?: bigint): unknown {
    return this.#isForeign ? error : failureOf(error, operation, cacheId);
  }

  /** What a call is rejected with: of an exception of this package's backends with the stack of the call. */
  #located(error: unknown, site?: CallSite): unknown {
    return this.#isForeign ? error : atCaller(error, site);
  }

  /** The same for one more call that has waited for the same. */
  #alsoLocated(error: unknown, site: CallSite): unknown {
    return this.#isForeign ? error : alsoAtCaller(error, site);
  }

  #checkAlive(operation: string): void {
    this.#watchdog.check(operation);
    if (this.#initialized && this.#finalizing === 0) return;
    const finalizing = this.#finalizing > 0;
    throw new LLMException(LLMStatusCode.LLM_FAILED, {
      operation,
      message: `cluster ${this.clusterId} is ${finalizing ? 'being finalized' : 'not initialised'}`,
      remedy: finalizing
        ? 'Wait until finalize() has ended. To use this instance again, once for all calls, call init(), register its caches and link it.'
        : 'Call init() first. After finalize(), once for all calls, call init() again, register the caches and link.',
      recovery: 'fix-input',
    });
  }
}

/** With the error as it was thrown: it has the stack of the call already. */
async function refusedInNextTurn(error: unknown): Promise<never> {
  await new Promise((resolve) => {
    nodeTimers.setImmediate(resolve);
  });
  throw error;
}

function infoOf({ operation, key }: OverLink, cacheId: bigint): TransferInfo {
  return { operation, clusterId: key.clusterId, cacheId };
}

/**
 * What a transfer that was given up may use. A plain call has not said it, since all calls would pay for that: what it was
 * called with is looked at now. Where the caller may have changed its list since, and the backend has not kept it either, that may be any row.
 */
function accessOf(
  operation: TransferOperation,
  { local, moved }: MovedMemory,
  blocks: BigUint64Array | undefined,
): Access {
  const writes = operation === 'pullCache' || operation === 'pullBlocks';
  const rows = typeof moved === 'object' ? (moved.kept(writes ? 'dst' : 'src') ?? blocks ?? 'all') : [moved];
  return { cache: local, rows, writes };
}

function unregistered(operation: string, cacheId: bigint): LLMException {
  return new LLMException(LLMStatusCode.LLM_KV_CACHE_NOT_EXIST, {
    operation,
    message: `cache ${cacheId} of this instance was unregistered`,
    remedy: 'Use a cache that this instance registered, and has not unregistered since.',
    recovery: 'fix-input',
    cacheId,
  });
}

/** What is left of an instance, without the instance. */
interface Abandoned {
  readonly backend: Backend;
  readonly clusterId: bigint;
  readonly hangTimeoutMs: number;
  readonly addresses: ReadonlySet<bigint>;
}

async function end({ backend, clusterId, hangTimeoutMs, addresses }: Abandoned): Promise<void> {
  const watchdog = new Watchdog(backend, clusterId, hangTimeoutMs, () => undefined);
  const free = async () => {
    for (const address of addresses) await backend.free(address);
  };
  try {
    await watchdog.call({ operation: 'finalize' }, () => backend.finalize());
  } catch (error) {
    if (!watchdog.isLost && backend.hasEnded === true) await free();
    throw error;
  }
  await free();
}

/** Instances that were garbage-collected while initialised, which those in use are not: they hold memory and a device. */
const abandoned = new FinalizationRegistry<Abandoned>((instance) => {
  const { backend, clusterId } = instance;
  if (backend.isDead === true) return;
  process.emitWarning(
    `an LLMDataDist of cluster ${clusterId} was garbage-collected without finalize(); it is finalized now. ` +
      'Call finalize(), or use "await using".',
    'LLMDataDistLeakWarning',
  );
  end(instance).catch((error: unknown) => {
    process.emitWarning(
      `finalizing the abandoned instance of cluster ${clusterId} failed: ${String(error)}`,
      'LLMDataDistLeakWarning',
    );
  });
});

import { checkOptions } from '../../check';
import type { Names } from '../../check';
import { LLMException } from '../../exception';
import { LLMRole } from '../../role';
import { LLMStatusCode, statusName } from '../../status';
import { isSubByte } from '../../data-type';
import { MAX_SUB_BYTE_BITS } from '../../cache-limits';
import { isHost } from '../../placement';
import { shortList } from '../../short-list';
import { tensorSize } from '../../tensor-size';
import type {
  Backend,
  BackendCacheDesc,
  BackendOptions,
  BlockLimits,
  Cache,
  CacheIndex,
  ClusterInfo,
  DeadlineClock,
  KvCacheExtParam,
  PushProgress,
  Turns,
} from '../backend';
import { Addresses, AddressSpace } from './address-space';
import { CacheEntry, rowsOf } from './cache-table';
import type { CallObserver, ClusterWork, Operation } from './call-observer';
import { checkClock } from './clock';
import type { Clock } from './clock';
import { HcclLinks } from './hccl-links';
import { HixlLinks } from './hixl-links';
import { MockCall, Withdrawn } from './mock-call';
import type { Binding, Network } from './network';
import type { ListenAddress } from '../../option-text/listen-address';
import { isIpv4, parseListenAddress } from '../../option-text/listen-address';
import { OptionError, quote } from '../../option-text/option-error';
import {
  checkHcclOptions,
  checkHixlOptions,
  checkLateOptions,
  readBackend,
  readDevicesAndListener,
} from '../../option-text/options';
import { processFabric } from './process-fabric';
import { pullBlocks, pullCache } from './pull';
import { pushBlocks, pushCache } from './push';
import { failed, invalid, Refusal } from './refusal';
import { Session } from './session';
import type { Engine, SessionConfig } from './session';
import { turns } from './turns';

export interface MockBackendOptions {
  /** The network that this instance sees. Default: one that all mock instances of the process share. */
  fabric?: Network;
  /**
   * Default: a clock on which waiting takes no real time; of a network between processes, the one on the wall. With a
   * `ManualClock` the deadlines of the instance (`hangTimeout`) run on it too.
   */
  clock?: Clock;
  /** Devices of the host; `llm.DeviceId` must be below it. Default 1024. */
  deviceCount?: number;
  /** @internal */
  observer?: CallObserver;
}

const BACKEND_OPTIONS: Names<MockBackendOptions> = { fabric: true, clock: true, deviceCount: true, observer: true };

/** More than any host has, so that a rehearsal of many nodes in one process can give each its own. */
const DEFAULT_DEVICE_COUNT = 1024;

/** The library's message says 33, its code 31. */
const MAX_DIMENSIONS = 31;

/**
 * LLM-DataDist without an NPU: a pure TypeScript implementation that moves real bytes between the instances of a
 * process and answers as recordings of the library do.
 *
 * Every method follows the tables of conditions of the specification, row by row, in evaluation order.
 */
export class MockBackend implements Backend {
  readonly name = 'mock';
  readonly turns: Turns = turns;
  readonly clock: DeadlineClock | undefined;
  /** A test kit may make them hang. */
  readonly transfersEnd: boolean;
  readonly #clusterId: bigint;
  readonly #fabric: Network;
  readonly #clock: Clock;
  readonly #deviceCount: number;
  readonly #observer: CallObserver | undefined;
  readonly #space: AddressSpace;
  #role: number;
  #session: Session | undefined;
  /** That of an Initialize that runs. */
  #starting: Session | undefined;
  #hasDied = false;
  /** How many calls were made. */
  #made = 0;
  /** Calls that were not over at once, by their numbers. */
  readonly #unfinished = new Map<number, MockCall>();
  /** For the next call. */
  #spare: MockCall | undefined;
  /** What an Initialize that failed late leaves behind: its listener keeps the port. */
  #leftover: { readonly engine: Engine; readonly binding: Binding } | undefined;

  constructor(clusterId: bigint, role: number, options: MockBackendOptions = {}) {
    checkOptions(options, 'options', BACKEND_OPTIONS);
    this.#clusterId = clusterId;
    this.#role = role;
    this.#fabric = options.fabric ?? processFabric();
    this.#clock = options.clock === undefined ? this.#fabric.newClock() : checkClock(options.clock, 'options.clock');
    this.clock = measuresDeadlines(this.#clock) ? this.#clock : undefined;
    this.#deviceCount = options.deviceCount ?? DEFAULT_DEVICE_COUNT;
    this.#observer = options.observer;
    this.transfersEnd = this.#observer === undefined;
    this.#space = new AddressSpace(this.#fabric.addresses ?? new Addresses());
  }

  /** @internal For whoever looks at the network from outside. */
  get role(): number {
    return this.#role;
  }

  /** @internal */
  get session(): Session | undefined {
    return this.#session;
  }

  get hasEnded(): boolean {
    return this.#session === undefined;
  }

  /** @internal */
  get space(): AddressSpace {
    return this.#space;
  }

  /** @internal The process dies: what it listened with, and its memory, are gone without a word to anybody. */
  die(): void {
    this.#hasDied = true;
    this.#starting?.end();
    this.#session?.end();
    this.#session = undefined;
    if (this.#leftover !== undefined) this.#fabric.release(this.#leftover.binding);
    this.#leftover = undefined;
    this.#space.clear();
  }

  initialize(options: BackendOptions): Promise<void> {
    return this.#answer('init', async () => {
      if (this.#session !== undefined) return;
      if (this.#hasDied) throw failed(`cluster ${this.#clusterId} has died`);
      checkRole(this.#role);
      try {
        await this.#start(options);
      } finally {
        this.#starting = undefined;
      }
    });
  }

  finalize(): Promise<void> {
    return this.#answer('finalize', () => {
      this.#session?.end();
      this.#session = undefined;
    });
  }

  setRole(role: number, options: BackendOptions): Promise<void> {
    return this.#answer('switchRole', async () => {
      const session = this.#initialised();
      checkRole(role);
      const text = options['llm.ListenIpInfo'];
      await session.links.setListen(text === undefined ? undefined : parseListenAddress(text));
      this.#role = role;
    });
  }

  linkLlmClusters(clusters: readonly ClusterInfo[], timeoutMs: number): Promise<readonly number[]> {
    return this.#onClusters(
      'linkClusters',
      clusters,
      timeoutMs,
      ({ links }) =>
        (some) =>
          links.link(some, timeoutMs),
    );
  }

  unlinkLlmClusters(clusters: readonly ClusterInfo[], timeoutMs: number, force: boolean): Promise<readonly number[]> {
    return this.#onClusters(
      'unlinkClusters',
      clusters,
      timeoutMs,
      ({ links }) =>
        (some) =>
          links.unlink(some, timeoutMs, force),
    );
  }

  // Asked before each allocation and deallocation: what is observed of those are the calls that do something.
  async allocateCache(): Promise<Cache> {
    await turns.next();
    throw toException('allocateCache', notEnabled(), undefined);
  }

  async deallocateCache(): Promise<void> {
    await turns.next();
    throw toException('deallocateCache', notEnabled(), undefined);
  }

  copyKvCache(): Promise<void> {
    return this.#answer('copyCache', refuseNotEnabled);
  }

  copyKvBlocks(): Promise<void> {
    return this.#answer('copyBlocks', refuseNotEnabled);
  }

  registerKvCache(desc: BackendCacheDesc, addrs: BigUint64Array): Promise<bigint> {
    return this.#answer('registerCache', () => register(this.#initialised(), desc, addrs));
  }

  unregisterKvCache(cacheId: bigint): Promise<void> {
    return this.#answer('unregisterCache', () => {
      const session = this.#initialised();
      session.links.checkUnregister(cacheId);
      session.memory.unregister(cacheId);
      session.table.remove(cacheId);
    });
  }

  /** Each is an unregistration like any other; between two of them a peer may link. */
  async unregisterUnlinked(cacheIds: BigInt64Array): Promise<readonly number[]> {
    const statuses: number[] = [];
    for (const cacheId of cacheIds) {
      if (this.#session?.mayBeLinked !== false) break;
      try {
        await this.unregisterKvCache(cacheId);
        statuses.push(LLMStatusCode.LLM_SUCCESS);
      } catch (error) {
        if (!(error instanceof LLMException)) throw error;
        statuses.push(error.statusCode);
      }
    }
    if (statuses.length === 0) await turns.next();
    return statuses;
  }

  pullKvCache(src: CacheIndex, dst: Cache, batchIndex: number, size: bigint, ext: KvCacheExtParam): Promise<void> {
    const work = (call: MockCall) => pullCache(this.#initialised(), src, dst.cacheId, batchIndex, size, ext, call);
    return this.#answer('pullCache', work, src);
  }

  pullKvBlocks(
    src: CacheIndex,
    dst: Cache,
    srcBlocks: BigUint64Array,
    dstBlocks: BigUint64Array,
    ext: KvCacheExtParam,
  ): Promise<void> {
    const work = (call: MockCall) => pullBlocks(this.#initialised(), src, dst.cacheId, srcBlocks, dstBlocks, ext, call);
    return this.#answer('pullBlocks', work, src);
  }

  pushKvCache(
    src: Cache,
    dst: CacheIndex,
    srcBatchIndex: number,
    size: bigint,
    ext: KvCacheExtParam,
    progress: PushProgress = { layersCompleted: 0 },
  ): Promise<void> {
    progress.layersCompleted = 0;
    const work = (call: MockCall) => pushCache(this.#initialised(), src, dst, srcBatchIndex, size, ext, progress, call);
    return this.#answer('pushCache', work, dst);
  }

  pushKvBlocks(
    src: Cache,
    dst: CacheIndex,
    srcBlocks: BigUint64Array,
    dstBlocks: BigUint64Array,
    ext: KvCacheExtParam,
    _limits?: BlockLimits,
    progress: PushProgress = { layersCompleted: 0 },
  ): Promise<void> {
    progress.layersCompleted = 0;
    const work = (call: MockCall) =>
      pushBlocks(this.#initialised(), src, dst, srcBlocks, dstBlocks, ext, progress, call);
    return this.#answer('pushBlocks', work, dst);
  }

  malloc(byteLength: bigint, placement: number): Promise<bigint> {
    return this.#answer('allocateMemory', () => this.#space.allocate(byteLength, placement));
  }

  free(address: bigint): Promise<void> {
    return this.#answer('free', () => {
      this.#space.free(address);
    });
  }

  write(address: bigint, data: Uint8Array): Promise<void> {
    return this.#answer('write', () => {
      this.#space.write(address, data);
    });
  }

  read(address: bigint, byteLength: number): Promise<Uint8Array> {
    return this.#answer('read', () => this.#space.read(address, byteLength));
  }

  copy(dst: bigint, src: bigint, byteLength: number): Promise<void> {
    return this.#answer('copyCache', () => {
      this.#space.copy(dst, src, byteLength);
    });
  }

  copyRanges(dst: BigUint64Array, src: BigUint64Array, byteLengths: BigUint64Array): Promise<void> {
    return this.#answer('copyCache', () => {
      for (const [i, byteLength] of byteLengths.entries()) {
        this.#space.copy(dst[i] ?? 0n, src[i] ?? 0n, Number(byteLength));
      }
    });
  }

  readRanges(addresses: BigUint64Array, byteLength: number): Promise<Uint8Array> {
    return this.#answer('read', () => {
      const bytes = new Uint8Array(addresses.length * byteLength);
      for (const [i, address] of addresses.entries()) bytes.set(this.#space.view(address, byteLength), i * byteLength);
      return bytes;
    });
  }

  writeRanges(addresses: BigUint64Array, byteLength: number, data: Uint8Array): Promise<void> {
    return this.#answer('write', () => {
      for (const [i, address] of addresses.entries()) {
        this.#space.write(address, data.subarray(i * byteLength, (i + 1) * byteLength));
      }
    });
  }

  lastCall(): number {
    return this.#made;
  }

  withdraw(call: number): boolean {
    return this.#unfinished.get(call)?.withdraw() ?? false;
  }

  #initialised(): Session {
    if (this.#session === undefined)
      throw failed('the instance is not initialised', { remedy: 'Initialise it first.', recovery: 'fix-input' });
    return this.#session;
  }

  /** Rows 3 to 27 of the table of Initialize (specification 4.1). */
  async #start(options: BackendOptions): Promise<void> {
    const { devices, listen } = readDevicesAndListener(options);
    this.#clearLeftover();
    const { deviceId, backend } = readBackend(options, devices);
    if (deviceId >= this.#deviceCount)
      throw failed(`device ${deviceId} does not exist: there are ${this.#deviceCount}`);
    const session =
      backend === 'hixl' ? this.#startHixl(options, deviceId, listen) : this.#startHccl(options, deviceId, listen);
    this.#starting = session;
    await session.links.start();
    session.checkAlive();
    try {
      session.waitTimeMs = checkLateOptions(options).waitTimeMs;
    } catch (error) {
      this.#abandon(session);
      throw error;
    }
    this.#session = session;
  }

  #startHccl(options: BackendOptions, deviceId: number, listen: ListenAddress | undefined): Session {
    const { localCommRes } = checkHcclOptions(options);
    return new Session(this.#config(deviceId, 'hccl'), (session) => new HcclLinks(session, listen, localCommRes));
  }

  #startHixl(options: BackendOptions, deviceId: number, listen: ListenAddress | undefined): Session {
    const { engine } = checkHixlOptions(options, listen);
    if (listen === undefined) throw invalid('the transfer backend hixl needs llm.ListenIpInfo');
    return new Session(this.#config(deviceId, engine), (session) => new HixlLinks(session, listen));
  }

  #config(deviceId: number, engine: Engine): SessionConfig {
    return {
      clusterId: this.#clusterId,
      deviceId,
      engine,
      fabric: this.#fabric,
      clock: this.#clock,
      space: this.#space,
    };
  }

  /** An Initialize that fails after the listener has started leaves the port taken, and nothing serves it. */
  #abandon(session: Session): void {
    const { binding, engine } = session;
    if (binding !== undefined) {
      this.#leftover = { engine, binding };
      binding.session = undefined;
      session.binding = undefined;
    }
    session.end();
  }

  /** The next Initialize replaces the engine of the failed one, and with it a listener of HCCL. Those of hixl stay. */
  #clearLeftover(): void {
    if (this.#leftover?.engine === 'comm') {
      throw invalid('an earlier Initialize failed after the communicator engine had started: the library would abort');
    }
    if (this.#leftover?.engine !== 'hccl') return;
    this.#fabric.release(this.#leftover.binding);
    this.#leftover = undefined;
  }

  #onClusters(
    operation: 'linkClusters' | 'unlinkClusters',
    clusters: readonly ClusterInfo[],
    timeoutMs: number,
    workOf: (session: Session) => ClusterWork,
  ): Promise<readonly number[]> {
    return this.#answer(operation, async (call) => {
      const session = this.#initialised();
      checkClusters(clusters, timeoutMs);
      const work = workOf(session);
      const { observed } = call;
      const outcomes = await (observed === undefined ? work(clusters) : observed.onClusters(clusters, work));
      // The overall status is the last failure in input order.
      const last = outcomes.findLast((outcome) => outcome !== undefined);
      const statuses = outcomes.map((outcome) => outcome?.statusCode ?? LLMStatusCode.LLM_SUCCESS);
      if (last === undefined) return statuses;
      throw new LLMException(last.statusCode, {
        operation,
        message: describeOutcomes(clusters, outcomes),
        ...adviceOn(last.statusCode),
        results: clusters.map(({ remoteClusterId }, i) => {
          const statusCode = statuses[i] ?? LLMStatusCode.LLM_SUCCESS;
          return { remoteClusterId, statusCode, code: statusName(statusCode) };
        }),
      });
    });
  }

  /**
   * Runs `work` at once, and turns what it refuses into the exception that the seam promises. Only what comes of it is
   * reported in a separate turn.
   */
  async #answer<T>(operation: Operation, work: (call: MockCall) => T | Promise<T>, peer?: CacheIndex): Promise<T> {
    const observed = this.#observer?.begin(operation);
    const call = this.#spare ?? new MockCall();
    this.#spare = undefined;
    call.start(observed, peer !== undefined);
    const number = (this.#made += 1);
    let value: T;
    try {
      const result = observed === undefined ? work(call) : observed.run(call, work);
      // Awaiting a plain value would cost a turn of the event loop's microtask queue per transfer.
      if (result instanceof Promise) {
        this.#unfinished.set(number, call);
        try {
          value = await result;
        } finally {
          this.#unfinished.delete(number);
        }
      } else {
        value = result;
        this.#spare = call;
      }
      observed?.succeeded(value);
    } catch (error) {
      const reported = toException(operation, error, peer);
      if (error instanceof Withdrawn) observed?.withdrawn();
      else observed?.failed(reported);
      await turns.next();
      throw reported;
    }
    await turns.next();
    return value;
  }
}

function measuresDeadlines(clock: Clock): clock is Clock & DeadlineClock {
  return clock.deadline !== undefined;
}

function toException(operation: Operation, error: unknown, peer: CacheIndex | undefined): unknown {
  const ids = peer === undefined ? {} : { clusterId: peer.clusterId, cacheId: peer.cacheId };
  if (error instanceof Refusal) {
    const advice = { ...adviceOn(error.statusCode), ...error.advice };
    return new LLMException(error.statusCode, { operation, message: error.detail, ...advice, ...ids });
  }
  if (error instanceof OptionError) {
    const message = error.rule;
    return new LLMException(LLMStatusCode.LLM_PARAM_INVALID, { operation, message, remedy: CORRECT_ARGUMENT, ...ids });
  }
  return error;
}

/** The library names what it has refused in its log; the mock has none. */
const CORRECT_ARGUMENT = 'Correct the argument that the message names.';

function adviceOn(statusCode: number): { readonly remedy?: string } {
  return statusCode === LLMStatusCode.LLM_PARAM_INVALID ? { remedy: CORRECT_ARGUMENT } : {};
}

function notEnabled(): Refusal {
  return new Refusal(LLMStatusCode.LLM_FEATURE_NOT_ENABLED, 'the library does not implement this call');
}

function refuseNotEnabled(): never {
  throw notEnabled();
}

function checkRole(role: number): void {
  if (LLMRole[role] === undefined) throw invalid(`${role} is no role: 1 is PROMPT, 2 DECODER, 3 MIX`);
}

/** Rows 2 to 5 of the tables of link and unlink: what is wrong here refuses the whole call. */
function checkClusters(clusters: readonly ClusterInfo[], timeoutMs: number): void {
  if (timeoutMs <= 0) throw invalid(`timeout ${timeoutMs} is not positive`);
  for (const { remoteClusterId, remoteIpInfos, localIpInfos } of clusters) {
    for (const { ip } of [...remoteIpInfos, ...localIpInfos]) {
      if (!isIpv4(ip)) throw invalid(`${quote(ip)} of cluster ${remoteClusterId} is no IPv4 address`);
    }
  }
  if (clusters.length === 0) throw invalid('no clusters given');
}

function describeOutcomes(clusters: readonly ClusterInfo[], outcomes: readonly (Refusal | undefined)[]): string {
  const told = outcomes.flatMap((outcome, i) =>
    outcome === undefined ? [] : [{ outcome, text: ofCluster(clusters[i]?.remoteClusterId, outcome.detail) }],
  );
  const [only] = told;
  if (only !== undefined && told.length === 1) return only.text;
  const texts = told.map(({ outcome, text }) => `${text} (${statusName(outcome.statusCode)})`);
  return shortList(texts).join('; ');
}

/** What happened to a cluster, with its id unless the text has that already. */
function ofCluster(id: bigint | undefined, detail: string): string {
  return new RegExp(`\\bcluster ${id}\\b`).test(detail) ? detail : `cluster ${id}: ${detail}`;
}

/** RegisterKvCache, in the library's order of checks (specification 4.7). */
function register(session: Session, desc: BackendCacheDesc, addrs: BigUint64Array): bigint {
  if (addrs.length === 0) throw invalid('no addresses given');
  if (addrs.length !== desc.numTensors) {
    throw invalid(`${addrs.length} addresses given for ${desc.numTensors} tensors`);
  }
  const zero = addrs.indexOf(0n);
  if (zero >= 0) throw invalid(`address ${zero} is 0`);
  if (desc.shape.length === 0 || desc.shape.length > MAX_DIMENSIONS) {
    throw invalid(`the shape has ${desc.shape.length} dimensions, 1 to ${MAX_DIMENSIONS} are allowed`);
  }
  const cacheId = session.table.takeId();
  const size = tensorSize(desc.shape, desc.dataType);
  if ('problem' in size) throw invalid(size.problem);
  if (size.bits > MAX_SUB_BYTE_BITS && isSubByte(desc.dataType)) {
    throw invalid(`${size.bits} bits of a type below a byte: the library computes the size in 32 bits`);
  }
  const [firstDimension = 0n] = desc.shape;
  const rows = rowsOf(firstDimension);
  const tensors = session.memory.register(cacheId, addrs, size.byteLength, isHost(desc.placement));
  session.table.add(new CacheEntry(cacheId, tensors, Number(size.byteLength), rows));
  return cacheId;
}

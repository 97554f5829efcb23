import './disposable';
import { inspect } from 'node:util';
import type { InspectOptionsStylized } from 'node:util';
import type { Backend, BackendFactory } from './backend/backend';
import { DEFAULT_THREADS } from './backend/native';
import { createBackend, isOfThisPackage } from './backend/select';
import type { BackendChoice } from './backend/select';
import { CALL_OPTIONS, checkCallOptions, limitsOf, signalOf } from './call-options';
import type { CallOptions } from './call-options';
import { checkBoolean, checkInt32, checkInteger, checkObject, checkOptions, checkUint64 } from './check';
import type { Names } from './check';
import { checkClusters } from './cluster';
import type { ClusterResult, LLMClusterInfo } from './cluster';
import { LLMConfig } from './config';
import { withDecimalJSON } from './decimal-json';
import { toOptions, toUntranslatedOptions } from './init-options';
import type { LLMInitOptions } from './init-options';
import { isSpelling } from './nearest-name';
import { OPTION_PROPERTIES } from './option-keys';
import { guardOptions } from './guard/options';
import { DEFAULT_HANG_TIMEOUT_MS, MAX_HANG_TIMEOUT_MS } from './hang-timeout';
import { inspected } from './inspection';
import { Instance } from './instance';
import { KvCacheManager } from './kv-cache-manager';
import { linkClusters, switchRole, unlinkClusters } from './linking';
import type { LimitedCall } from './limited-call';
import { ALLOCATION_OPTIONS, checkAllocation, checkTotal } from './memory';
import type { MemoryRegion } from './memory';
import type { Placement } from './placement';
import { LLMRole } from './role';
import { LLMStatusCode, statusName } from './status';
import { takeTurns } from './turns';

export interface LLMDataDistOptions {
  /**
   * What does the work: `auto` (default) takes the vendor library where it can be loaded. Where it cannot, `auto` fails if
   * there are signs of an Ascend host or if the environment names a file of the native backend, and takes the mock with a
   * warning otherwise. `native` and `mock` take nothing else; or a backend of your own, or a function that makes it.
   * `LLM_DATADIST_BACKEND` overrides `auto`. With `LLM_DATADIST_MOCK_FABRIC` set to `tcp` mock instances of all processes of
   * this machine find each other, over TCP; with `memory`, the default, those of one process do.
   */
  readonly backend?: BackendChoice | Backend | BackendFactory;
  /** Refuse what the library does not survive before it is called. Default true. */
  readonly guards?: boolean;
  /** Refuse keys that do not carry the layout of the cache that they name. Default false. */
  readonly requireLayout?: boolean;
  /**
   * Refuse keys that do not carry the life of the instance that registered the cache. Default false. It asks for the life of
   * keys only: `linkClusters` works without a life as before.
   */
  readonly requireLife?: boolean;
  /** Allow a second live native instance in this process, which the vendor advises against. Default false. */
  readonly allowMultipleInstances?: boolean;
  /**
   * How many milliseconds a call may take beyond its own time limit before it is given up as one that hangs: an integer from 1 to
   * 2147483647, default 60000. A call that is given up rejects with `LLM_TIMEOUT` and `deadline: 'package'`; what hangs inside
   * the library cannot be ended.
   *
   * - `linkClusters` and `unlinkClusters` have their `timeout` as limit; `init`, `switchRole` and `finalize` have none.
   *   `registerCache`, `unregisterCache`, `allocateCache` and `deallocateCache` have `syncKvTimeout`, since they may wait for a transfer
   *   that has the library's tables locked. The recovery is `fatal`: the instance is lost ({@link LLMDataDist.isLost}), every later
   *   call fails at once, and the process has to be restarted. Against a peer that accepts a connection and does not answer, a
   *   link or an unlink never returns; the others may wait without end for a client that is connected and silent.
   * - Pulls and pushes have `syncKvTimeout`. Pulls from one peer run one after the other, and so do all pushes: the time is that of
   *   each of them, and not of those that wait behind it. A transfer that hangs costs its peer only. All calls with this peer
   *   reject at once with the recovery `retry`, those that wait behind it too; nothing is sent to the peer, no unlink either.
   *   Transfers with other peers go on, but where it is a push, all pushes of the instance reject. When the call comes back
   *   after all, calls with the peer pass again: relink then. Until then its cache cannot be unregistered, and rule
   *   `rows-in-flight` refuses its rows; `released` of its error says when that is over.
   * - Calls that wait for transfers or copies to end (`unlinkClusters`, `unregisterCache`, `deallocateCache`, `free`) reject with the
   *   recovery `retry` where they wait for one that was given up. Otherwise they lose the instance when none has ended for
   *   `syncKvTimeout` and this time. So does `finalize`, which waits for all: it rejects with the recovery `fatal`, does not
   *   call the library's Finalize beside a running transfer, and frees no memory. Restart the process then.
   * - Calls that work on this side only (memory and copies) are not given up themselves.
   *
   * The time runs from when the turn of a call has come, not while it waits for others. Give at least 30000 with the transfer
   * backend `hixl`: the library may keep its links locked for that long while it unlinks a dead peer, and calls that wait for them
   * would be given up though they do not hang. `init` warns of less (`LLMDataDistHangTimeoutWarning`).
   */
  readonly hangTimeout?: number;
  /**
   * How many threads at most of the native backend wait in calls of the library for this instance, 1 to 1024, default 64:
   * one per peer that it pulls from at the same time, one for pushes, one for link and the like, one for copies of memory.
   * Threads start when they are needed. The mock has none.
   */
  readonly threads?: number;
}

const INSTANCE_OPTIONS: Names<LLMDataDistOptions> = {
  backend: true,
  guards: true,
  requireLayout: true,
  requireLife: true,
  allowMultipleInstances: true,
  hangTimeout: true,
  threads: true,
};
const UNLINK_OPTIONS = { ...CALL_OPTIONS, force: true } as const;

/** The vendor's C++ default of 1000 ms is below its own advice for links with TLS; Python has this one too. */
const DEFAULT_TIMEOUT_MS = 3000;
const MAX_THREADS = 1024;

/**
 * One LLM-DataDist instance: a cluster with one NPU, that links to other clusters and moves KV caches between them.
 *
 * Every method rejects with a `TypeError` (`ERR_INVALID_ARG_TYPE`) or a `RangeError` (`ERR_OUT_OF_RANGE`) for a value of
 * the wrong type or size, before anything has happened, and with an `LLMException` for what the library or a guard
 * refuses. Calls before `init` and after `finalize` reject with `LLM_FAILED`.
 *
 * C++ `llm_datadist::LlmDataDist`, Python `LLMDataDist`.
 *
 * @example
 * ```ts
 * await using dist = new LLMDataDist(LLMRole.DECODER, 2n, { backend: 'mock' });
 * await dist.init({ deviceId: 0, listenIpInfo: '127.0.0.1:26001' });
 * ```
 */
export class LLMDataDist implements AsyncDisposable {
  readonly #instance: Instance;
  readonly #kvCacheManager: KvCacheManager;
  #role: LLMRole;

  /**
   * @param role int32; the library refuses anything but an `LLMRole` when it is initialised
   * @param clusterId uint64, unique among the clusters that link to each other
   * @throws LLMBackendError when the vendor library cannot be loaded and the mock may not take its place
   * @throws TypeError, RangeError also for a wrong value of an `LLM_DATADIST_*` variable
   *
   * C++ constructor, Python `LLMDataDist(role, cluster_id)`.
   */
  constructor(role: LLMRole, clusterId: bigint | number, options?: LLMDataDistOptions) {
    const fields = checkOptions(options, 'options', INSTANCE_OPTIONS);
    const {
      backend,
      guards,
      requireLayout,
      requireLife,
      allowMultipleInstances,
      hangTimeout = DEFAULT_HANG_TIMEOUT_MS,
      threads,
    } = fields;
    this.#role = checkInt32(role, 'role');
    const id = checkUint64(clusterId, 'clusterId');
    const flag = (value: unknown, name: string, preset: boolean) =>
      value === undefined ? preset : checkBoolean(value, `options.${name}`);
    const guarded = flag(guards, 'guards', true);
    const layouts = flag(requireLayout, 'requireLayout', false);
    const lives = flag(requireLife, 'requireLife', false);
    const several = flag(allowMultipleInstances, 'allowMultipleInstances', false);
    const hangTimeoutMs = checkInteger(hangTimeout, 'options.hangTimeout', 1, MAX_HANG_TIMEOUT_MS);
    const made = createBackend(backend, id, this.#role, {
      allowMultipleInstances: several,
      guards: guarded,
      threads: checkInteger(threads ?? DEFAULT_THREADS, 'options.threads', 1, MAX_THREADS),
    });
    this.#instance = new Instance({
      clusterId: id,
      backend: made,
      isForeign: !isOfThisPackage(made),
      guards: guarded,
      requireLayout: layouts,
      requireLife: lives,
      hangTimeoutMs,
    });
    this.#kvCacheManager = new KvCacheManager(this.#instance);
  }

  static {
    takeTurns(
      LLMDataDist.prototype,
      ['init', 'finalize', 'switchRole', 'linkClusters', 'unlinkClusters', 'allocateMemory', Symbol.asyncDispose],
      (dist) => LLMDataDist.instanceOf(dist)?.backend.turns,
    );
  }

  /** @internal What is behind an instance; recognised by what cannot be imitated. */
  static instanceOf(value: unknown): Instance | undefined {
    return typeof value === 'object' && value !== null && #instance in value ? value.#instance : undefined;
  }

  /** The role of the constructor, or of the last {@link switchRole} that succeeded. Python `role`. */
  get role(): LLMRole {
    return this.#role;
  }

  /** Python `cluster_id`. */
  get clusterId(): bigint {
    return this.#instance.clusterId;
  }

  /** `native`, `mock`, or the name of a backend of your own. */
  get backendName(): string {
    return this.#instance.backend.name;
  }

  /** Between `init` and `finalize`; no more when a test fabric has killed the instance. */
  get isInitialized(): boolean {
    return this.#instance.isInitialized && this.#instance.backend.isDead !== true;
  }

  /**
   * Names this life of the instance: 128 random bits as 32 lower-case hex digits, new with each `init` that succeeds. Empty
   * before the first one and after `finalize`. A second `init`, `switchRole` and lost links do not change it.
   *
   * Cache ids start at 1 in every life, and the library cannot distinguish one life from the next. So the keys of an instance carry
   * its life, and a peer that links to it states the life that the instance reports then ({@link LLMClusterInfo.life}).
   *
   * Neither C++ nor Python has it.
   */
  get life(): string {
    return this.#instance.life;
  }

  /**
   * Whether a call hangs in the library for longer than {@link LLMDataDistOptions.hangTimeout} allows, other than a transfer,
   * which costs its peer only. The call was rejected with `LLM_TIMEOUT`; every other one, `finalize` too, rejects with
   * `LLM_FAILED` and the recovery `fatal`. Restart the process then.
   */
  get isLost(): boolean {
    return this.#instance.isLost;
  }

  /** Registers, pulls and pushes caches. Python `cache_manager`. */
  get kvCacheManager(): KvCacheManager {
    return this.#kvCacheManager;
  }

  /**
   * Takes the device and, with a listen address, starts to listen. A second call succeeds and changes nothing.
   *
   * While it listens or may be linked the instance is kept until {@link finalize}, whatever the program keeps of it: peers
   * transfer without it. One that nothing can reach, neither the program nor a peer, is finalized with a warning when it is
   * garbage-collected. No instance keeps its process from ending.
   *
   * @param options an `LLMConfig`, a plain object of its properties, or the library's own `llm.*` strings
   * @throws LLMException `LLM_PARAM_INVALID` for a wrong option or an unknown key; `LLM_FAILED` where the device does not
   *   exist or the port is taken; `LLM_TIMEOUT` with the recovery `fatal` when it hangs
   *
   * C++ `Initialize`, Python `init`.
   */
  async init(options: LLMInitOptions, call?: CallOptions): Promise<void> {
    const texts = this.#optionsOf(options, 'init');
    const check = () => {
      // Now, and not when it was called: a finalize or another init may have been under way.
      if (this.#instance.guards) guardOptions(texts, 'init');
    };
    await this.#instance.init(texts, check, checkCallOptions(call));
  }

  /**
   * Waits for the calls in flight, drops all links on this side and stops listening. Peers get no notice. Memory that is
   * still allocated is freed, with a warning. Idempotent; afterwards `init` may be called again.
   *
   * @throws LLMException `LLM_TIMEOUT` with the recovery `fatal` when it hangs, or a call in flight does: the library is not
   *   finalized then, no memory is freed, and the process has to be restarted ({@link LLMDataDistOptions.hangTimeout})
   *
   * C++ `Finalize`, Python `finalize`.
   */
  async finalize(call?: CallOptions): Promise<void> {
    await this.#instance.finalize(checkCallOptions(call));
  }

  /**
   * Changes the role, and with it the listener: with `listenIpInfo` in the options it listens there, without it it stops
   * listening.
   *
   * @param role int32; the library refuses anything but an `LLMRole`
   * @throws LLMException `LLM_EXIST_LINK` while links exist (default backend); `LLM_FEATURE_NOT_ENABLED` for another listen
   *   address (hixl); `LLM_FAILED` where the address is taken: the library has closed the old listener then, and the package
   *   makes it listen there again (not without guards); `LLM_TIMEOUT` with the recovery `fatal` when it hangs
   *
   * C++ `SetRole`, Python `switch_role`.
   */
  async switchRole(role: LLMRole, options: LLMInitOptions = {}, call?: CallOptions): Promise<void> {
    const newRole = checkInt32(role, 'role') as LLMRole;
    const texts = this.#optionsOf(options, 'switchRole');
    const check = () => {
      if (this.#instance.guards) guardOptions(texts, 'switchRole');
    };
    const done = () => {
      this.#role = newRole;
    };
    const roles = { from: this.#role, to: newRole };
    await switchRole(this.#instance, roles, texts, { check, done }, checkCallOptions(call));
  }

  /**
   * Links to clusters, at the same time. Either side of a link may call this; with the default backend one link serves
   * both directions, with hixl only this one.
   *
   * To bound a link or unlink, use `signal`: it rejects the call at once. `timeout` is the library's own limit: time in queues
   * does not count, and a link to a silent peer can take longer.
   *
   * @param options `timeout` in milliseconds, int32 > 0, default 3000; with TLS at least 2000
   * @returns one result per cluster, in input order, when all succeed
   * @throws LLMException with `results`, one per cluster, when one fails: the others stay linked. With `results: []` when
   *   the call was refused as a whole: `LLM_TIMEOUT` with the recovery `fatal` when it hangs, and with `retry` while a transfer
   *   with one of the clusters does ({@link LLMDataDistOptions.hangTimeout})
   *
   * C++ `LinkLlmClusters`, Python `link_clusters`.
   */
  async linkClusters(clusters: readonly LLMClusterInfo[], options?: CallOptions): Promise<ClusterResult[]> {
    const infos = checkClusters(clusters, 'clusters');
    const fields = checkOptions(options, 'options', CALL_OPTIONS);
    const { timeout } = fields;
    const timeoutMs = timeout === undefined ? DEFAULT_TIMEOUT_MS : checkInt32(timeout, 'options.timeout');
    return toResults(infos, await linkClusters(this.#instance, infos, timeoutMs, signalOf(fields)));
  }

  /**
   * Unlinks clusters, at the same time, when the transfers with them that were called before have ended; those that are
   * called meanwhile come afterwards. Without `force` the peer gets a notice and drops its side too; when it cannot be reached
   * this side stays linked. With `force` only this side is dropped.
   *
   * To bound a link or unlink, use `signal`: it rejects the call at once. `timeout` is the library's own limit: time in queues
   * does not count.
   *
   * @param options `timeout` as for {@link linkClusters}; `force`, default false
   * @throws LLMException as {@link linkClusters}
   *
   * C++ `UnlinkLlmClusters`, Python `unlink_clusters`.
   */
  async unlinkClusters(
    clusters: readonly LLMClusterInfo[],
    options?: CallOptions & { readonly force?: boolean },
  ): Promise<ClusterResult[]> {
    const infos = checkClusters(clusters, 'clusters');
    const fields = checkOptions(options, 'options', UNLINK_OPTIONS);
    const { timeout, force } = fields;
    const timeoutMs = timeout === undefined ? DEFAULT_TIMEOUT_MS : checkInt32(timeout, 'options.timeout');
    const forced = force === undefined ? false : checkBoolean(force, 'options.force');
    const limits = signalOf(fields);
    return toResults(infos, await unlinkClusters(this.#instance, infos, timeoutMs, forced, limits));
  }

  /**
   * Allocates memory for caches. It ends with `free()` or with `finalize()`.
   *
   * @param byteLength uint64 > 0
   * @param options `placement`: device memory (default) or host memory
   * @throws LLMException `LLM_FAILED` when not initialised; `LLM_DEVICE_OUT_OF_MEMORY` or `LLM_OUT_OF_MEMORY`
   *
   * `aclrtMalloc` / `aclrtMallocHost` of the Ascend runtime.
   */
  async allocateMemory(
    byteLength: number | bigint,
    options?: CallOptions & { readonly placement?: Placement },
  ): Promise<MemoryRegion> {
    const operation = 'allocateMemory';
    const fields = checkOptions(options, 'options', ALLOCATION_OPTIONS);
    const wanted = checkAllocation(byteLength, fields);
    const allocate = async (call: LimitedCall | undefined) => {
      checkTotal(operation, wanted.byteLength, wanted.placement);
      const region = await this.#instance.allocate(wanted.byteLength, wanted.placement, call);
      // Nothing has its handle.
      if (call?.isEnded === true) await region.release();
      return region;
    };
    return await this.#instance.run(operation, allocate, undefined, limitsOf(fields));
  }

  /** {@link finalize}; nothing where the instance {@link isLost} already. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#instance.dispose();
  }

  /** The instance for logs. */
  toJSON(): Record<string, unknown> {
    return { ...this.#summary(), clusterId: String(this.clusterId) };
  }

  /** @internal */
  [inspect.custom](depth: number | null, options: InspectOptionsStylized): string {
    return inspected('LLMDataDist', this.#summary(), depth, options);
  }

  #summary() {
    const { clusterId, role, backendName } = this;
    return {
      clusterId,
      role: (LLMRole[role] as string | undefined) ?? role,
      backend: backendName,
      state: this.#instance.state,
    };
  }

  /**
   * Without guards a record of the library's own keys goes to it as it is, unknown ones and Python's spellings included:
   * so does C++.
   */
  #optionsOf(options: unknown, operation: 'init' | 'switchRole'): Record<string, string> {
    checkObject(options, 'options');
    if (!this.#instance.guards && isRawRecord(options)) return toUntranslatedOptions(options, operation);
    return toOptions(options, operation);
  }
}

/** Whether no key is one of the typed options, however it is written: `device_id` is no key of the library. */
function isRawRecord(options: unknown): boolean {
  if (typeof options !== 'object' || options === null || options instanceof LLMConfig) return false;
  const typed = Object.keys(OPTION_PROPERTIES);
  return !Object.keys(options).some((key) => typed.some((property) => isSpelling(key, property)));
}

function toResults(
  clusters: readonly { readonly remoteClusterId: bigint }[],
  statuses: readonly number[],
): ClusterResult[] {
  return clusters.map(({ remoteClusterId }, i) => {
    const statusCode = statuses[i] ?? LLMStatusCode.LLM_SUCCESS;
    return withDecimalJSON({ remoteClusterId, statusCode, code: statusName(statusCode) });
  });
}

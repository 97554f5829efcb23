/** A method of the vendor's class or a function of the runtime, by its C++ name. */
export type StandInMethod =
  | 'LlmDataDist'
  | '~LlmDataDist'
  | 'Initialize'
  | 'Finalize'
  | 'SetRole'
  | 'LinkLlmClusters'
  | 'UnlinkLlmClusters'
  | 'AllocateCache'
  | 'DeallocateCache'
  | 'CopyKvCache'
  | 'CopyKvBlocks'
  | 'RegisterKvCache'
  | 'UnregisterKvCache'
  | 'PullKvCache'
  | 'PullKvBlocks'
  | 'PushKvCache'
  | 'PushKvBlocks'
  | 'aclInit'
  | 'aclFinalize'
  | 'aclrtSetDevice'
  | 'aclrtResetDevice'
  | 'aclrtGetDeviceCount'
  | 'aclrtMalloc'
  | 'aclrtFree'
  | 'aclrtMallocHost'
  | 'aclrtFreeHost'
  | 'aclrtMemcpy'
  | 'aclsysGetVersionStr';

/** What calls are to do; control.h has the details. At most one of the outcomes from `status` to `hang`. */
export interface StandInAction {
  /** Wait until they are released. */
  readonly block?: boolean;
  /** Sleep so many milliseconds. */
  readonly delay?: number;
  /** What aclGetRecentErrMsg says afterwards, on the thread of the call. */
  readonly error?: string;
  /** Return this uint32 without doing anything. */
  readonly status?: number;
  /** Throw a `std::runtime_error` with this text. */
  readonly throw?: string;
  readonly throwBadAlloc?: boolean;
  /** Throw this uint32 as an `int`. */
  readonly throwInt?: number;
  readonly abort?: boolean;
  readonly segv?: boolean;
  /** Never return. */
  readonly hang?: boolean;
  /** Only for calls that are about that cluster. */
  readonly cluster?: bigint;
  /**
   * Of a transfer: where it moves its bytes, with the library's locks held, and not where it comes in. A push comes there
   * once for each layer.
   */
  readonly inTransport?: boolean;
  /** So many calls pass first. */
  readonly skip?: number;
  /** No more calls than these. */
  readonly times?: number;
}

/** A call as C++ received it. 64-bit numbers are decimal texts; names are those of the C++ header. */
export interface StandInCall {
  readonly method: StandInMethod;
  /** 1 for the first thread that called, 2 for the next one. */
  readonly thread: number;
  /** The object, from 1 on; absent for functions of the runtime. */
  readonly object?: number;
  readonly args: Readonly<Record<string, unknown>>;
  /** Absent while the call is inside, or where it threw or ended the process. */
  readonly returned?: number;
  /** What was given back besides the status: `cache_id`, `rets`, `address` and the like. */
  readonly results?: Readonly<Record<string, unknown>>;
  readonly threw?: string;
}

export interface StandInViolations {
  readonly count: number;
  /** 20 at most. */
  readonly first: readonly { readonly hazard: string; readonly text: string }[];
}

export interface StandInCounters {
  readonly liveObjects: number;
  readonly initialisedObjects: number;
  /** Calls inside, counted while anything is switched on that looks at calls. */
  readonly threadsInside: number;
  /** Tables of all links that a peer's request or a disconnect of the engine hixl keeps locked. */
  readonly lockedTables: number;
  readonly liveAllocations: number;
  readonly liveBytes: number;
  readonly violations: number;
}

/** The controls of the stand-in that this process has loaded. One stand-in serves all threads and workers. */
export class StandIn {
  /**
   * Runs commands of control.h.
   * @throws Error for a wrong one, with what is wrong
   */
  run(commands: string): void;
  /** Replaces what the method's calls do. */
  set(method: StandInMethod, action: StandInAction): void;
  /** For the calls that the method's actions so far leave over. */
  add(method: StandInMethod, action: StandInAction): void;
  unset(method: StandInMethod): void;
  /** Lets blocked calls go on: all of them, or the oldest `count`. */
  release(method: StandInMethod, count?: number): void;
  /**
   * Resolves when so many calls have come in: since load, the last reset and the method's last `set`, and while an action,
   * the journal or a hazard is switched on.
   * @throws Error when `timeoutMs` (10,000 unless told) have passed before
   */
  waitEntered(method: StandInMethod, count?: number, timeoutMs?: number): Promise<void>;
  /**
   * Resolves when so many calls are blocked or hang at a time, on their way in or in the transport.
   * @throws Error when `timeoutMs` (10,000 unless told) have passed before
   */
  waitHeld(method: StandInMethod, count?: number, timeoutMs?: number): Promise<void>;
  /** What linking or unlinking a cluster gives, without doing it; without a status as it was before. */
  result(call: 'link' | 'unlink', clusterId: bigint, status?: number): void;
  /** Watches for all hazards; with `abort` one that is seen ends the process. */
  strict(options?: { readonly abort?: boolean }): void;
  /** The calls since `journal on`, in the order in which they came in. */
  journal(): StandInCall[];
  violations(): StandInViolations;
  counters(): StandInCounters;
  /** Everything as at the start, blocked calls released. Objects, memory and aclInit stay. */
  reset(): void;
  /** A socket that listens on a port of 127.0.0.1, made as the vendor's library makes them: children inherit it. It stays. */
  listen(): { readonly fd: number; readonly port: number };
}

/**
 * @param runtime - `libascendcl.so` of the stand-in, as in `StandInBuild.runtime`
 * @param options.load - Load it where this process has not. Otherwise that is an error.
 * @param options.addon - standin.node, where it is not in the folder above that of `runtime`.
 * @throws Error in the loader's words
 */
export function control(runtime: string, options?: { readonly load?: boolean; readonly addon?: string }): StandIn;

/** One command in the language of control.h, each word quoted where it must be: for the variable LLM_STANDIN. */
export function command(...words: readonly (string | number | bigint)[]): string;

/** The command that {@link StandIn.set} runs. */
export function setCommand(method: StandInMethod, action: StandInAction): string;

/** The calls in a file that the variable LLM_STANDIN_JOURNAL named. */
export function readJournal(file: string): StandInCall[];

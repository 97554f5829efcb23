import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { LLMDataDist, LLMException, LLMRole, LLMStatusCode } from '../../../lib';
import type { LLMDataDistOptions } from '../../../lib';
import type * as Build from '../../native/standin/build';
import type * as Control from '../../native/standin/control';
import type { StandIn, StandInMethod } from '../../native/standin/control';
import type { CallName, FaultPlan, NodePlan, Plan } from '../steps';
import type { Stage, TimeLimits } from './stage';

const METHODS: Partial<Record<CallName, StandInMethod>> = {
  linkClusters: 'LinkLlmClusters',
  unlinkClusters: 'UnlinkLlmClusters',
  registerCache: 'RegisterKvCache',
  switchRole: 'SetRole',
  pullCache: 'PullKvCache',
  pullBlocks: 'PullKvBlocks',
  pushCache: 'PushKvCache',
  pushBlocks: 'PushKvBlocks',
};

/** What the guards and the shim prevent, whatever the program does. */
const HAZARDS = [
  'delete-while-others-live',
  'destructor',
  'initialize-twice',
  'concurrent-control',
  'finalize-with-calls',
  'call-after-destruction',
  'transfer-during-unlink',
  'unregister-in-use',
  'free-registered',
  'runtime-not-initialised',
  'no-device',
  'foreign-free',
  'foreign-copy',
  'foreign-registration',
  'fatal-value',
];

/** Time is real: what takes a second elsewhere takes some milliseconds. */
const MOST_REAL_MS = 5;
/** No two interleavings share clusters or ports: a lost instance keeps its own. */
const IDS_PER_STAGE = 8;
const FIRST_PORT = 10_000;
const PORTS = 50_000;

const REAL: TimeLimits = { waitsForHangs: false, longestMs: 60_000, shortMs: 20, firstStepMs: 1, mostStepMs: 5 };

const HANGS: ReadonlySet<FaultPlan['effect']> = new Set(['hang', 'holdCall']);

/** A cluster without an instance. */
const NOBODY = {
  remoteClusterId: 2n ** 64n - 1n,
  remoteIpInfos: [{ ip: '127.0.0.1', port: 9 }],
  localIpInfos: [{ ip: '127.0.0.1', port: 1 }],
};

let stages = 0;
let standIn: StandIn | undefined;

/** Instances of the addon over the stand-in of the vendor's library. */
export function nativeStage(plan: Plan): Promise<Stage> {
  standIn ??= loadStandIn();
  stages += 1;
  return Promise.resolve(new NativeStage(standIn, stages, hangs(plan)));
}

/** Whether some call hangs, of whichever node: the stand-in's faults hit the calls of all. */
function hangs({ steps }: Plan): boolean {
  return steps.some((step) => 'fault' in step && typeof step.fault === 'object' && HANGS.has(step.fault.effect));
}

/** Builds the stand-in where it is not built, and makes it the library of this process. */
function loadStandIn(): StandIn {
  const root = packageFolder(__dirname);
  const { LLM_DATADIST_ADDON: chosen = '' } = process.env;
  const addon = chosen === '' ? join(root, 'build', 'Release', 'llm_datadist.node') : chosen;
  if (!existsSync(addon)) throw new Error(`the addon was not built, there is no ${addon}: npm run build:native`);
  const load = createRequire(__filename);
  const tools = join(root, 'test', 'native', 'standin');
  const { buildStandIn } = load(join(tools, 'build.js')) as typeof Build;
  const { control } = load(join(tools, 'control.js')) as typeof Control;
  const { library, runtime } = buildStandIn();
  process.env.LLM_DATADIST_ADDON = addon;
  process.env.LLM_DATADIST_LIBRARY = library;
  return control(runtime, { load: true });
}

/** Where the sources are: this file may have been compiled to somewhere below. */
function packageFolder(folder: string): string {
  return existsSync(join(folder, 'binding.gyp')) ? folder : packageFolder(dirname(folder));
}

/** Whether the library is closed to an instance, because a call of another one has not come back. */
async function isRefusedForAnother(dist: LLMDataDist): Promise<boolean> {
  const { isLost, isInitialized } = dist;
  if (isLost || !isInitialized) return false;
  try {
    await dist.linkClusters([NOBODY], { timeout: 1 });
    return false;
  } catch (error) {
    return !dist.isLost && error instanceof LLMException && error.recovery === 'fatal';
  }
}

class NativeStage implements Stage {
  readonly firstClusterId: bigint;
  readonly isCautious = true;
  readonly limits = REAL;
  readonly #standIn: StandIn;
  readonly #firstPort: number;
  readonly #faults: StandInMethod[] = [];
  readonly #allocations: number;
  readonly #initialised: number;
  readonly #hangs: boolean;
  readonly #nodes: LLMDataDist[] = [];

  constructor(control: StandIn, number: number, hangs: boolean) {
    this.#hangs = hangs;
    this.#standIn = control;
    this.firstClusterId = BigInt(number * IDS_PER_STAGE + 1);
    this.#firstPort = FIRST_PORT + ((number * IDS_PER_STAGE) % PORTS);
    control.reset();
    for (const hazard of HAZARDS) control.run(`hazard ${hazard} on`);
    const { liveAllocations, initialisedObjects } = control.counters();
    this.#allocations = liveAllocations;
    this.#initialised = initialisedObjects;
  }

  newNode(node: number, options: LLMDataDistOptions): LLMDataDist {
    const id = this.firstClusterId + BigInt(node);
    const dist = new LLMDataDist(LLMRole.MIX, id, { ...options, backend: 'native', allowMultipleInstances: true });
    this.#nodes.push(dist);
    return dist;
  }

  addressOf(node: number) {
    return { ip: '127.0.0.1', port: this.#firstPort + node };
  }

  hangTimeoutOf({ hangTimeout }: NodePlan): number {
    // Some are to give up what hangs, and on a busy machine nothing else.
    return this.#hangs && hangTimeout === 1000 ? 100 : 600_000;
  }

  inject({ call, effect, delayMs, times, skip }: FaultPlan): Promise<void> {
    const method = METHODS[call];
    if (method === undefined) throw new Error(`no fault is known for ${call}`);
    const inTransport = method.startsWith('P');
    const actions = {
      hang: { block: true, inTransport },
      holdCall: { block: true },
      status: { status: LLMStatusCode.LLM_TIMEOUT },
      delay: { delay: Math.min(delayMs, MOST_REAL_MS) },
      partial: { inTransport, status: LLMStatusCode.LLM_TIMEOUT, skip: 1 },
    };
    this.#standIn.add(method, { times, skip, ...actions[effect] });
    this.#faults.push(method);
    return Promise.resolve();
  }

  removeFault(index: number): Promise<void> {
    const method = this.#faults[index];
    if (method !== undefined) this.#standIn.release(method);
    return Promise.resolve();
  }

  removeFaults(): Promise<void> {
    for (const method of new Set(this.#faults.splice(0))) {
      this.#standIn.release(method);
      this.#standIn.unset(method);
    }
    return Promise.resolve();
  }

  /** The others cannot reach it any more. */
  kill(node: number): Promise<void> {
    this.#standIn.run(`peer ${this.firstClusterId + BigInt(node)} dead`);
    return Promise.resolve();
  }

  restart(node: number): Promise<void> {
    this.#standIn.run(`peer ${this.firstClusterId + BigInt(node)} alive`);
    return Promise.resolve();
  }

  /** The nearest thing to it: the peer's unlink arrives. */
  partition(a: number): Promise<void> {
    try {
      this.#standIn.run(`peer ${this.firstClusterId + BigInt(a)} unlinks`);
    } catch (error) {
      if (!(error as Error).message.includes('nobody is linked')) throw error;
    }
    return Promise.resolve();
  }

  heal(): Promise<void> {
    for (let node = 0; node < IDS_PER_STAGE; node++)
      this.#standIn.run(`peer ${this.firstClusterId + BigInt(node)} alive`);
    return Promise.resolve();
  }

  async untilBack(): Promise<void> {
    if (!this.#nodes.some(({ isLost }) => isLost)) return;
    for (const dist of this.#nodes) while (await isRefusedForAnother(dist)) await this.pass(1);
  }

  pass(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, Math.min(ms, MOST_REAL_MS)));
  }

  assertIdle(lost: readonly number[]): Promise<void> {
    const { first } = this.#standIn.violations();
    if (first.length > 0) throw new Error(first.map(({ hazard, text }) => `${hazard}: ${text}`).join('\n'));
    const { liveAllocations, initialisedObjects, threadsInside } = this.#standIn.counters();
    const left = [liveAllocations - this.#allocations, initialisedObjects - this.#initialised, threadsInside];
    // A lost instance keeps what it has until its process ends.
    if (lost.length === 0 && left.some((count) => count !== 0)) {
      throw new Error(
        `the library has ${left[0]} allocations, ${left[1]} initialised objects and ${left[2]} calls left`,
      );
    }
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.#standIn.reset();
    return Promise.resolve();
  }
}

import { Random } from '../../lib/random';
import type { CachePlan, CallName, CallStep, FabricStep, FaultPlan, Gap, Limits, NodePlan, Plan, Step } from './steps';

const LEAST_STEPS = 10;
const MORE_STEPS = 30;

/** How often which call is made. */
const WEIGHTS: Readonly<Record<CallName, number>> = {
  init: 5,
  finalize: 2,
  dispose: 1,
  switchRole: 2,
  linkClusters: 8,
  unlinkClusters: 5,
  allocateMemory: 4,
  write: 4,
  read: 3,
  free: 1,
  registerCache: 3,
  unregisterCache: 2,
  allocateCache: 5,
  deallocateCache: 2,
  pullCache: 12,
  pullBlocks: 18,
  pushCache: 7,
  pushBlocks: 10,
  copyCache: 3,
  copyBlocks: 4,
  swapBlocks: 3,
  readBlocks: 4,
  writeBlocks: 6,
};

const NAMES = Object.keys(WEIGHTS) as CallName[];
const TOTAL = NAMES.reduce((sum, name) => sum + WEIGHTS[name], 0);

/** Calls of which a fault makes something else. */
const FAULTY: readonly CallName[] = [
  ...(['pullCache', 'pullBlocks', 'pushCache', 'pushBlocks'] as const),
  ...(['linkClusters', 'unlinkClusters', 'registerCache', 'switchRole'] as const),
];
const TRANSFERS: ReadonlySet<CallName> = new Set(['pullCache', 'pullBlocks', 'pushCache', 'pushBlocks']);

/** The plan of one interleaving: the same for the same seed and index. */
export function planOf(seed: number, index: number): Plan {
  return new Generator(
    new Random(Math.imul(seed ^ 0x9e37_79b9, 0x85eb_ca6b) ^ Math.imul(index + 1, 0xc2b2_ae35)),
  ).plan();
}

class Generator {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  plan(): Plan {
    const layers = 1 + this.#below(3);
    const nodes = Array.from({ length: 2 + this.#below(3) }, (_, i) => this.#node(i, layers));
    const count = LEAST_STEPS + this.#below(MORE_STEPS);
    const steps = [...this.#beginning(nodes), ...Array.from({ length: count }, () => this.#step())];
    return { nodes, steps, removesFaults: this.#chance(0.5), latencyMs: this.#one([0, 0, 2, 30]) };
  }

  #node(i: number, layers: number): NodePlan {
    return {
      listens: i === 0 || this.#chance(0.6),
      hangTimeout: this.#one([1000, 5000, 60_000]),
      requireLife: this.#chance(0.1),
      syncKvTimeout: this.#one([50, 1000]),
      caches: Array.from({ length: 1 + this.#below(2) }, () => this.#cache(layers)),
    };
  }

  #cache(layers: number): CachePlan {
    return {
      isAllocated: this.#chance(0.6),
      layers: this.#chance(0.1) ? layers + 1 : layers,
      tensorsPerLayer: 2,
      rows: 3 + this.#below(4),
      onHost: this.#chance(0.2),
    };
  }

  /** Most plans begin with a cluster that works, or the calls would only fail. */
  #beginning(nodes: readonly NodePlan[]): Step[] {
    const settle: Gap = { kind: 'settle' };
    const none: Gap = { kind: 'none' };
    const careful = { isCareful: true, limits: undefined };
    const steps: Step[] = nodes.map((_, node) => ({ ...this.#call('init'), ...careful, node, gap: none }));
    for (const [node, { caches }] of nodes.entries()) {
      for (const cache of caches.keys()) {
        steps.push({ ...this.#call('allocateCache'), ...careful, node, cache, gap: settle });
        steps.push({ ...this.#call('writeBlocks'), ...careful, node, cache, rows: [0, 1, 2, 3, 4, 5], gap: none });
      }
    }
    for (const node of nodes.keys()) {
      if (node > 0) steps.push({ ...this.#call('linkClusters'), ...careful, node, peer: 0, gap: settle });
    }
    return this.#chance(0.9) ? steps : [];
  }

  #step(): Step {
    return this.#chance(0.78) ? this.#call(this.#name()) : this.#fabricStep();
  }

  #call(call: CallName): CallStep {
    return {
      call,
      node: this.#below(4),
      // The others are linked to the first one, if all goes well.
      peer: this.#chance(0.8) ? 0 : this.#below(4),
      cache: this.#below(3),
      other: this.#below(3),
      rows: this.#rows(),
      otherRows: this.#rows(),
      layers: this.#chance(0.2) ? [this.#below(3), 1 + this.#below(2)] : undefined,
      isCareful: this.#chance(0.9),
      life: this.#chance(0.1) ? 'wrong' : this.#one(['present', 'none']),
      isOldKey: this.#chance(0.1),
      force: this.#chance(0.5),
      linkTimeout: this.#one([100, 1000, 3000]),
      limits: this.#chance(0.4) ? this.#limits() : undefined,
      gap: this.#gap(),
    };
  }

  #rows(): number[] {
    return Array.from({ length: 1 + this.#below(3) }, () => this.#below(6));
  }

  #limits(): Limits {
    const timeout = this.#chance(0.4) ? { timeout: this.#one([1, 5, 20, 100, 1000]) } : undefined;
    if (timeout !== undefined && this.#chance(0.6)) return timeout;
    const kind = this.#one(['before', 'microtasks', 'microtasks', 'macrotasks', 'macrotasks', 'time'] as const);
    return { ...timeout, abort: { kind, count: this.#below(8) } };
  }

  #gap(): Gap {
    const chance = this.#below(20);
    if (chance < 6) return { kind: 'none' };
    if (chance < 10) return { kind: 'microtasks', count: 1 + this.#below(8) };
    if (chance < 13) return { kind: 'macrotasks', count: 1 + this.#below(4) };
    if (chance < 18) return { kind: 'time', ms: this.#one([1, 10, 100, 1000]) };
    return { kind: 'settle' };
  }

  #fabricStep(): FabricStep {
    const gap = this.#gap();
    const node = this.#below(4);
    const peer = this.#below(4);
    const fabric = this.#one([
      ...(['fault', 'fault', 'fault', 'fault', 'removeFault', 'removeFault', 'kill', 'restart', 'restart'] as const),
      ...(['partition', 'heal', 'heal', 'collect', 'collect', 'dropHandles'] as const),
    ]);
    switch (fabric) {
      case 'fault':
        return { fabric, fault: this.#fault(), gap };
      case 'removeFault':
        return { fabric, fault: this.#below(4), gap };
      case 'kill':
      case 'restart':
        return { fabric, node, gap };
      case 'partition':
      case 'heal':
        return { fabric, node, peer, gap };
      case 'collect':
        return { fabric, gap };
      case 'dropHandles':
        return { fabric, node, cache: this.#below(3), gap };
    }
  }

  #fault(): FaultPlan {
    const call = this.#one(FAULTY);
    const effects = TRANSFERS.has(call)
      ? (['hang', 'hang', 'holdCall', 'status', 'delay', 'partial'] as const)
      : (['hang', 'status', 'delay'] as const);
    return {
      call,
      node: this.#below(4),
      effect: this.#one<FaultPlan['effect']>(effects),
      delayMs: this.#one([1, 10, 100, 2000]),
      times: 1 + this.#below(2),
      skip: this.#chance(0.2) ? 1 : 0,
    };
  }

  #name(): CallName {
    let left = this.#below(TOTAL);
    return NAMES.find((name) => (left -= WEIGHTS[name]) < 0) ?? 'pullBlocks';
  }

  #below(bound: number): number {
    return this.#random.below(bound);
  }

  #chance(probability: number): boolean {
    return this.#below(1000) < probability * 1000;
  }

  #one<T>(choices: readonly T[]): T {
    return choices[this.#below(choices.length)] as T;
  }
}

import { LLMDataDist, LLMRole } from '../../../lib';
import type { BackendFactory, LLMDataDistOptions } from '../../../lib';
import type { Fault, InjectedFault, SharedFabric, SharedFault, TestFabric } from '../../../lib/testing';
import type { FaultPlan, NodePlan } from '../steps';
import type { Stage, TimeLimits } from './stage';

type AnyFabric = TestFabric | SharedFabric;

interface AdvancingClock {
  advance(ms: number): Promise<void>;
}

const REHEARSED: TimeLimits = {
  waitsForHangs: true,
  longestMs: 4 * 3_600_000,
  shortMs: 3000,
  firstStepMs: 10,
  mostStepMs: 600_000,
};

/** Mock instances on a test fabric, in memory or over TCP, with the time of a manual clock. */
export class FabricStage implements Stage {
  readonly firstClusterId = 1n;
  readonly isCautious = false;
  readonly limits = REHEARSED;
  readonly #fabric: AnyFabric;
  readonly #backend: BackendFactory;
  readonly #clock: AdvancingClock;
  readonly #addresses: readonly { readonly ip: string; readonly port: number }[];
  readonly #faults: (InjectedFault | SharedFault)[] = [];

  /** @param backend what makes the instances of the fabric, changed or not */
  constructor(
    fabric: AnyFabric,
    clock: AdvancingClock,
    addresses: readonly { readonly ip: string; readonly port: number }[],
    backend: BackendFactory = fabric.backend,
  ) {
    this.#fabric = fabric;
    this.#backend = backend;
    this.#clock = clock;
    this.#addresses = addresses;
  }

  newNode(node: number, options: LLMDataDistOptions): LLMDataDist {
    return new LLMDataDist(LLMRole.MIX, this.#id(node), { ...options, backend: this.#backend });
  }

  addressOf(node: number) {
    const address = this.#addresses[node];
    if (address === undefined) throw new Error(`node ${node} has no address`);
    return address;
  }

  hangTimeoutOf({ hangTimeout }: NodePlan): number {
    return hangTimeout;
  }

  async inject(plan: FaultPlan): Promise<void> {
    this.#faults.push(await this.#fabric.inject(faultOf(plan, this.#id(plan.node))));
  }

  async removeFault(index: number): Promise<void> {
    await this.#faults[index]?.remove();
  }

  async removeFaults(): Promise<void> {
    for (const fault of this.#faults.splice(0)) await fault.remove();
  }

  async kill(node: number): Promise<void> {
    await this.#fabric.kill(this.#id(node));
  }

  async restart(node: number): Promise<void> {
    await this.#fabric.restart(this.#id(node));
  }

  async partition(a: number, b: number): Promise<void> {
    await this.#fabric.partition(this.#id(a), this.#id(b));
  }

  async heal(): Promise<void> {
    await this.#fabric.heal();
  }

  /** No instance waits for another one. */
  untilBack(): Promise<void> {
    return Promise.resolve();
  }

  async pass(ms: number): Promise<void> {
    await this.#clock.advance(ms);
  }

  async assertIdle(lost: readonly number[]): Promise<void> {
    // A lost instance keeps what it has until its process ends.
    for (const node of lost) await this.kill(node);
    await this.#fabric.assertIdle();
  }

  async close(): Promise<void> {
    await this.#fabric.close();
  }

  #id(node: number): bigint {
    return this.firstClusterId + BigInt(node);
  }
}

function faultOf({ call, effect, delayMs, times, skip }: FaultPlan, node: bigint): Fault {
  const where = { op: call as Fault['op'], node, times, skip };
  switch (effect) {
    case 'hang':
      return { ...where, hang: true };
    case 'holdCall':
      return { ...where, hang: true, hold: 'call' };
    case 'status':
      return { ...where, status: 'LLM_TIMEOUT' };
    case 'delay':
      return { ...where, delayMs };
    case 'partial':
      return { ...where, partialLayers: 1, delayMs };
  }
}

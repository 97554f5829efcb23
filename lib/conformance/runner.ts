import { inspect, types } from 'node:util';
import type { Backend } from '../backend/backend';
import type { KvCache } from '../cache';
import { LLMDataDist } from '../datadist';
import { LLMException } from '../exception';
import { LLMStatusCode } from '../status';
import { tensorSize } from '../tensor-size';
import type { BackendSource } from './backends';
import { CacheMemory } from './cache-memory';
import type { CallResult } from './calls';
import { makeCall } from './calls';
import type { Difference, DifferenceKind } from './difference';
import { statusText } from './difference';
import { Ports } from './ports';
import type { Scenario } from './scenario';
import type { RegisterStep, Step } from './step';
import { namedCaches } from './step';

/** What became of a call. */
export type Outcome =
  | ({ readonly kind: 'success' } & CallResult)
  | { readonly kind: 'refused'; readonly exception: LLMException }
  /** It was rejected with something that no call may be rejected with, or its memory could not be had. */
  | { readonly kind: 'broken'; readonly difference: DifferenceKind; readonly error: unknown }
  /** The caches that it needs and that are not there. */
  | { readonly kind: 'not made'; readonly missing: readonly string[] };

/**
 * Makes the calls of a scenario and compares what comes of them with what was recorded.
 *
 * The package's guards are off, because the recordings are of the bare library. All instances are finalized and all
 * memory is freed at the end, whatever happened.
 *
 * @returns one entry for each point that differs; none when the backend does exactly what was recorded
 */
export async function runScenario(scenario: Scenario, source: BackendSource): Promise<Difference[]> {
  const run = await ScenarioRun.start(scenario, source, { guards: false });
  const differences: Difference[] = [];
  try {
    for (const [i, step] of scenario.steps.entries()) {
      const outcome = await run.make(step);
      differences.push(...(await run.compare(i, step, outcome)));
    }
  } finally {
    differences.push(...(await run.end()));
  }
  return differences;
}

interface Node {
  readonly dist: LLMDataDist;
  readonly backend: Backend;
}

interface LiveCache {
  readonly handle: KvCache;
  readonly memory: CacheMemory;
}

/** One run of one scenario, step by step. */
export class ScenarioRun {
  readonly #scenario: Scenario;
  readonly #ports: Ports;
  readonly #nodes: ReadonlyMap<string, Node>;
  readonly #caches = new Map<string, LiveCache>();
  readonly #memories: { readonly node: string; readonly memory: CacheMemory }[] = [];

  private constructor(scenario: Scenario, ports: Ports, nodes: ReadonlyMap<string, Node>) {
    this.#scenario = scenario;
    this.#ports = ports;
    this.#nodes = nodes;
  }

  static async start(
    scenario: Scenario,
    source: BackendSource,
    { guards }: { readonly guards: boolean },
  ): Promise<ScenarioRun> {
    const { createBackend, freePorts } = source();
    const ports = await Ports.take(scenario.ports, freePorts);
    const nodes = new Map<string, Node>();
    for (const [name, { role, clusterId }] of scenario.nodes) {
      const backend = createBackend(clusterId, role);
      nodes.set(name, { backend, dist: new LLMDataDist(role, clusterId, { backend, guards }) });
    }
    return new ScenarioRun(scenario, ports, nodes);
  }

  async make(step: Step): Promise<Outcome> {
    const missing = namedCaches(step).filter((name) => !this.#caches.has(name));
    if (missing.length > 0) return { kind: 'not made', missing };
    const node = this.#node(step.node);
    // The name is about to stand for another cache, and must not stand for the old one when that fails.
    if (step.op === 'register' && step.status === LLMStatusCode.LLM_SUCCESS) this.#caches.delete(step.cache);
    let memory: CacheMemory | undefined;
    try {
      if (step.op === 'register') memory = await this.#memoryFor(step, node.backend);
    } catch (error) {
      return { kind: 'broken', difference: 'memory', error };
    }
    const { addresses = new BigUint64Array(0) } = memory ?? {};
    const cache = (name: string) => this.#cache(name).handle;
    try {
      const result = await makeCall(step, { ...node, ports: this.#ports, cache, addresses });
      if (step.op === 'register' && result.cache !== undefined && memory !== undefined) {
        this.#caches.set(step.cache, { handle: result.cache, memory });
      }
      return { kind: 'success', ...result };
    } catch (error) {
      if (error instanceof LLMException) return { kind: 'refused', exception: error };
      return { kind: 'broken', difference: 'exception', error };
    }
  }

  /** In what the outcome and the bytes after it differ from the recording. */
  async compare(index: number, step: Step, outcome: Outcome): Promise<Difference[]> {
    const differences: Difference[] = [];
    const message = outcome.kind === 'refused' ? outcome.exception.message : undefined;
    const differ = (kind: DifferenceKind, expected: string, got: string, more: Partial<Difference> = {}) => {
      if (expected === got) return;
      const { name } = this.#scenario;
      const why = message !== undefined && kind !== 'crc' && { message };
      differences.push({
        scenario: name,
        step: index,
        op: step.op,
        node: step.node,
        kind,
        expected,
        got,
        ...why,
        ...more,
      });
    };
    const expected = 'status' in step ? step.status : LLMStatusCode.LLM_SUCCESS;
    switch (outcome.kind) {
      case 'not made':
        differ('not made', `cache ${outcome.missing.join(', ')} to be registered`, 'no such cache');
        return differences;
      case 'broken':
        differ(outcome.difference, statusText(expected), describeError(outcome.error));
        return differences;
      case 'success':
        differ('status', statusText(expected), statusText(LLMStatusCode.LLM_SUCCESS));
        break;
      case 'refused':
        differ('status', statusText(expected), statusText(outcome.exception.statusCode));
        break;
    }
    if (step.op === 'link' || step.op === 'unlink') {
      differ('results', resultsText(step.results), resultsText(resultsOf(outcome)));
    }
    if (step.op === 'register' && step.cacheId !== undefined && outcome.kind === 'success') {
      differ('cacheId', String(step.cacheId), String(outcome.cache?.cacheId));
    }
    if (!('crc' in step)) return differences;
    for (const [cache, crc] of step.crc) {
      try {
        differ('crc', crc, await this.#cache(cache).memory.crc(), { cache });
      } catch (error) {
        differ('memory', `the bytes of cache ${cache}`, describeError(error), { cache });
      }
    }
    return differences;
  }

  /** Finalizes all instances and frees all memory; what goes wrong in that comes after the last step. */
  async end(): Promise<Difference[]> {
    const differences: Difference[] = [];
    const attempt = async (kind: DifferenceKind, op: string, node: string, work: () => Promise<void>) => {
      try {
        await work();
      } catch (error) {
        const { name, steps } = this.#scenario;
        const got = describeError(error);
        differences.push({ scenario: name, step: steps.length, op, node, kind, expected: 'LLM_SUCCESS', got });
      }
    };
    for (const [name, { dist }] of this.#nodes) {
      await attempt('exception', 'finalize', name, () => dist.finalize());
    }
    for (const { node, memory } of this.#memories) await attempt('memory', 'free', node, () => memory.free());
    return differences;
  }

  async #memoryFor(step: RegisterStep, backend: Backend): Promise<CacheMemory> {
    const { desc, base, addrCount: count = desc.numTensors, memoryOf, status } = step;
    const size = tensorSize(desc.shape, desc.dataType);
    const tensorBytes = 'problem' in size || desc.shape.length === 0 ? undefined : size.byteLength;
    if (memoryOf !== undefined) return this.#cache(memoryOf).memory.view(count, tensorBytes);
    const fails = status !== LLMStatusCode.LLM_SUCCESS;
    const memory = await CacheMemory.allocate(backend, { count, tensorBytes, placement: desc.placement, base, fails });
    this.#memories.push({ node: step.node, memory });
    return memory;
  }

  #node(name: string): Node {
    const node = this.#nodes.get(name);
    if (node === undefined) throw new RangeError(`the scenario ${this.#scenario.name} has no node ${name}`);
    return node;
  }

  #cache(name: string): LiveCache {
    const cache = this.#caches.get(name);
    if (cache === undefined) throw new RangeError(`the scenario ${this.#scenario.name} has no cache ${name}`);
    return cache;
  }
}

function resultsOf(outcome: Extract<Outcome, { kind: 'success' | 'refused' }>): readonly number[] {
  if (outcome.kind === 'success') return outcome.results ?? [];
  return outcome.exception.results?.map(({ statusCode }) => statusCode) ?? [];
}

function resultsText(results: readonly number[]): string {
  return `[${results.map(statusText).join(', ')}]`;
}

function describeError(error: unknown): string {
  return types.isNativeError(error) || error instanceof Error ? String(error) : `a rejection with ${inspect(error)}`;
}

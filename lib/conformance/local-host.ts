import type { Backend, BackendFactory } from '../backend/backend';
import type { KvCache } from '../cache';
import { LLMDataDist } from '../datadist';
import { LLMBackendError, LLMException } from '../exception';
import { LLMStatusCode } from '../status';
import { tensorSize } from '../tensor-size';
import { BackendModuleError } from './backend-module';
import type { BackendSource } from './backends';
import { ByName } from './by-name';
import { CacheMemory } from './cache-memory';
import { makeCall } from './calls';
import { describedCache } from './described-cache';
import { errorText } from './difference';
import type { Crc, ForeignCache, Host, HostSource, NodeFailure, Outcome, Setting } from './host';
import { Ports } from './ports';
import type { RegisterStep, Step } from './step';

interface Node {
  readonly dist: LLMDataDist;
  readonly backend: Backend;
}

interface LiveCache {
  readonly handle: KvCache;
  readonly memory: CacheMemory;
}

interface Memory {
  readonly node: string;
  readonly memory: CacheMemory;
}

/** All nodes of each scenario in this process. */
export function localHosts(source: BackendSource): HostSource {
  return ({ name, nodes }, settings) => {
    const { createBackend, freePorts } = source(settings);
    return { hosts: [new LocalHost(name, [...nodes.keys()], createBackend)], freePorts };
  };
}

/** Nodes that live in this process. */
export class LocalHost implements Host {
  readonly #createBackend: BackendFactory;
  readonly #nodes: ByName<Node>;
  readonly #caches: ByName<LiveCache>;
  readonly #memories: Memory[] = [];
  #ports = new Ports(new Map());

  constructor(
    scenario: string,
    readonly nodes: readonly string[],
    createBackend: BackendFactory,
  ) {
    this.#createBackend = createBackend;
    this.#nodes = new ByName(scenario, 'node');
    this.#caches = new ByName(scenario, 'cache');
  }

  async start({ nodes, ports, guards }: Setting): Promise<NodeFailure | undefined> {
    this.#ports = new Ports(ports);
    for (const [node, { role, clusterId }] of nodes) {
      const failure = await this.#attempt(node, () => {
        const backend = this.#createBackend(clusterId, role);
        this.#nodes.set(node, { backend, dist: new LLMDataDist(role, clusterId, { backend, guards }) });
      });
      if (failure !== undefined) return failure;
    }
    return undefined;
  }

  async make(step: Step, foreign: ReadonlyMap<string, ForeignCache>): Promise<Outcome> {
    const node = this.#nodes.get(step.node);
    let memory: CacheMemory | undefined;
    try {
      if (step.op === 'register') memory = await this.#memoryFor(step, node.backend);
    } catch (error) {
      return { kind: 'broken', difference: 'memory', error: errorText(error) };
    }
    const { addresses = new BigUint64Array(0) } = memory ?? {};
    // Without guards the manager takes a bare struct in the place of a handle.
    const cache = (name: string) => {
      const other = foreign.get(name);
      return other === undefined ? this.#caches.get(name).handle : describedCache(other.cacheId, other.desc);
    };
    try {
      const { results, cache: handle } = await makeCall(step, { ...node, ports: this.#ports, cache, addresses });
      if (step.op === 'register' && handle !== undefined && memory !== undefined) {
        this.#caches.set(step.cache, { handle, memory });
      }
      return { kind: 'success', ...(results && { results }), ...(handle && { cacheId: handle.cacheId }) };
    } catch (error) {
      if (!(error instanceof LLMException)) {
        return { kind: 'broken', difference: 'exception', error: errorText(error) };
      }
      const { statusCode: status, message, remedy, results = [] } = error;
      return { kind: 'refused', status, message, remedy, results: results.map(({ statusCode }) => statusCode) };
    }
  }

  async crc(cache: string): Promise<Crc> {
    try {
      return { crc: await this.#caches.get(cache).memory.crc() };
    } catch (error) {
      return { error: errorText(error) };
    }
  }

  finalize(node: string): Promise<NodeFailure | undefined> {
    return this.#attempt(node, () => this.#nodes.get(node).dist.finalize());
  }

  async free(): Promise<readonly NodeFailure[]> {
    const failures: NodeFailure[] = [];
    for (const { node, memory } of this.#memories) {
      const failure = await this.#attempt(node, () => memory.free());
      if (failure !== undefined) failures.push(failure);
    }
    return failures;
  }

  async #memoryFor(step: RegisterStep, backend: Backend): Promise<CacheMemory> {
    const { desc, base, addrCount: count = desc.numTensors, memoryOf, status } = step;
    const size = tensorSize(desc.shape, desc.dataType);
    const tensorBytes = 'problem' in size || desc.shape.length === 0 ? undefined : size.byteLength;
    if (memoryOf !== undefined) return this.#caches.get(memoryOf).memory.view(count, tensorBytes);
    const fails = status !== LLMStatusCode.LLM_SUCCESS;
    const memory = await CacheMemory.allocate(backend, { count, tensorBytes, placement: desc.placement, base, fails });
    this.#memories.push({ node: step.node, memory });
    return memory;
  }

  async #attempt(node: string, work: () => Promise<void> | void): Promise<NodeFailure | undefined> {
    try {
      await work();
      return undefined;
    } catch (error) {
      // No scenario would fare better.
      if (error instanceof LLMBackendError || error instanceof BackendModuleError) throw error;
      return { node, error: errorText(error) };
    }
  }
}

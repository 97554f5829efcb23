import { LLMStatusCode } from '../status';
import type { BackendSettings, BackendSource } from './backends';
import { ByName } from './by-name';
import { compareBytes, compareOutcome, recordedStatus } from './comparison';
import type { Difference, DifferenceKind } from './difference';
import { errorText } from './difference';
import type { Crc, ForeignCache, Host, HostProcess, HostSource, NodeFailure, Outcome } from './host';
import { HostLostError } from './host';
import { localHosts } from './local-host';
import type { FreePorts } from './ports';
import { Ports } from './ports';
import type { Scenario } from './scenario';
import type { Step } from './step';
import { namedCaches } from './step';

/**
 * Makes the calls of a scenario and compares what comes of them with what was recorded, with all nodes in this process.
 *
 * The package's guards are off, because the recordings are of the bare library. All instances are finalized and all
 * memory is freed at the end, whatever happened.
 *
 * @returns one entry for each point that differs; none when the backend does exactly what was recorded
 * @throws LLMBackendError where the backend cannot be had at all
 */
export async function runScenario(scenario: Scenario, source: BackendSource): Promise<Difference[]> {
  return runScenarioOn(localHosts(source), scenario);
}

/**
 * The same as {@link runScenario}, with the nodes where `source` puts them. When a process of theirs ends before its time,
 * the scenario ends with a difference of the kind `process`. None is left running.
 *
 * @throws LLMBackendError, BackendModuleError where the backend cannot be had at all
 */
export async function runScenarioOn(source: HostSource, scenario: Scenario): Promise<Difference[]> {
  const run = new ScenarioRun(scenario, source, { guards: false });
  const differences: Difference[] = [];
  try {
    differences.push(...(await run.start()));
    for (const [i, step] of scenario.steps.entries()) differences.push(...(await run.makeAndCompare(i, step)));
  } finally {
    differences.push(...(await run.end()));
  }
  return differences;
}

/** A cache that a registration has made. */
interface NamedCache extends ForeignCache {
  readonly host: Host;
}

/** What is being done, in the words of a {@link Difference}. */
type Activity = Pick<Difference, 'step' | 'op' | 'node' | 'expected'>;

/** One run of one scenario, step by step. */
export class ScenarioRun {
  readonly #scenario: Scenario;
  readonly #settings: BackendSettings;
  readonly #hosts: readonly Host[];
  readonly #processes: readonly HostProcess[];
  readonly #freePorts: FreePorts;
  readonly #hostOf: ByName<Host>;
  readonly #caches: ByName<NamedCache>;
  /** Of the first process that is lost. */
  readonly #loss: Promise<HostLostError> | undefined;
  /** Whether all instances are there. */
  #alive = true;

  constructor(scenario: Scenario, source: HostSource, settings: BackendSettings) {
    const { hosts, freePorts } = source(scenario, settings);
    this.#scenario = scenario;
    this.#settings = settings;
    this.#hosts = hosts;
    this.#freePorts = freePorts;
    this.#hostOf = new ByName(scenario.name, 'node');
    this.#caches = new ByName(scenario.name, 'cache');
    for (const host of hosts) for (const node of host.nodes) this.#hostOf.set(node, host);
    this.#processes = hosts.flatMap(({ process }) => (process === undefined ? [] : [process]));
    if (this.#processes.length > 0) this.#loss = Promise.race(this.#processes.map(({ lost }) => lost));
  }

  /**
   * Makes the instances.
   * @returns why no step can be made
   * @throws LLMBackendError, BackendModuleError where there is no such backend
   */
  async start(): Promise<Difference[]> {
    const { name: scenario, nodes, ports: names } = this.#scenario;
    const { byName: ports } = await Ports.take(names, this.#freePorts);
    const activity = { step: 0, op: 'start', node: [...nodes.keys()].join(', '), expected: 'an instance' };
    const start = (host: Host) => {
      const own = new Map([...nodes].filter(([node]) => host.nodes.includes(node)));
      return host.start({ ...this.#settings, scenario, nodes: own, ports });
    };
    let started = false;
    try {
      const differences = await this.#attempt(activity, 'exception', () => Promise.all(this.#hosts.map(start)));
      started = differences.length === 0;
      return differences;
    } finally {
      this.#alive = started;
    }
  }

  /** @throws HostLostError when a process is lost */
  async make(step: Step): Promise<Outcome> {
    const host = this.#hostOf.get(step.node);
    const named = namedCaches(step);
    const missing = named.filter((name) => !this.#caches.has(name));
    if (missing.length > 0) {
      return { kind: 'not made', needed: `cache ${missing.join(', ')} to be registered`, found: 'no such cache' };
    }
    const foreign = new Map<string, ForeignCache>();
    for (const name of named) {
      const { host: owner, cacheId, desc } = this.#caches.get(name);
      if (owner !== host) foreign.set(name, { cacheId, desc });
    }
    if (step.op === 'register' && foreign.size > 0) {
      const needed = `the memory of cache ${[...foreign.keys()].join(', ')}`;
      return { kind: 'not made', needed, found: 'memory of another process' };
    }
    // The name is about to stand for another cache, and must not stand for the old one when that fails.
    if (step.op === 'register' && step.status === LLMStatusCode.LLM_SUCCESS) this.#caches.delete(step.cache);
    const outcome = await this.#unlessLost(host.make(step, foreign));
    if (step.op === 'register' && outcome.kind === 'success' && outcome.cacheId !== undefined) {
      this.#caches.set(step.cache, { host, cacheId: outcome.cacheId, desc: step.desc });
    }
    return outcome;
  }

  /** Makes a step, while there is a host to make it, and says in what it differs from the recording. */
  makeAndCompare(index: number, step: Step): Promise<Difference[]> {
    const { op, node } = step;
    return this.#during({ step: index, op, node, expected: recordedStatus(step) }, async (differences) => {
      const place = { scenario: this.#scenario.name, index, step };
      const outcome = await this.make(step);
      differences.push(...compareOutcome(place, outcome));
      if (!('crc' in step) || outcome.kind === 'not made' || outcome.kind === 'broken') return;
      for (const [cache, crc] of step.crc) {
        differences.push(...compareBytes(place, cache, crc, await this.#crc(cache)));
      }
    });
  }

  /** Finalizes all instances and frees all memory; what goes wrong in that comes after the last step. */
  async end(): Promise<Difference[]> {
    const { nodes, steps } = this.#scenario;
    const after = (op: string, node: string, expected = 'LLM_SUCCESS') => ({ step: steps.length, op, node, expected });
    const differences: Difference[] = [];
    try {
      for (const node of nodes.keys()) {
        const finalize = async () => [await this.#hostOf.get(node).finalize(node)];
        differences.push(...(await this.#attempt(after('finalize', node), 'exception', finalize)));
      }
      for (const host of this.#hosts) {
        const free = after('free', host.nodes.join(', '));
        differences.push(...(await this.#attempt(free, 'memory', () => host.free())));
      }
      const exit = after('exit', [...nodes.keys()].join(', '), 'exit code 0');
      const endAll = async () => {
        await Promise.all(this.#processes.map((process) => process.end()));
        return [];
      };
      differences.push(...(await this.#attempt(exit, 'process', endAll)));
      return differences;
    } finally {
      for (const process of this.#processes) process.kill();
    }
  }

  async #crc(cache: string): Promise<Crc> {
    // A scenario that was made by hand may name one that no step registers.
    if (!this.#caches.has(cache)) return { error: errorText(this.#caches.unknown(cache)) };
    return this.#unlessLost(this.#caches.get(cache).host.crc(cache));
  }

  /** Does what ends with failures of nodes; each is a difference. */
  #attempt(
    activity: Activity,
    kind: DifferenceKind,
    work: () => Promise<readonly (NodeFailure | undefined)[]>,
  ): Promise<Difference[]> {
    return this.#during(activity, async (differences) => {
      for (const failure of await this.#unlessLost(work())) {
        if (failure === undefined) continue;
        const { node, error: got } = failure;
        differences.push({ scenario: this.#scenario.name, ...activity, node, kind, got });
      }
    });
  }

  /** Collects differences; the loss of a process is one, and the last. */
  async #during(activity: Activity, work: (differences: Difference[]) => Promise<void>): Promise<Difference[]> {
    const differences: Difference[] = [];
    if (!this.#alive) return differences;
    try {
      await work(differences);
    } catch (error) {
      if (!(error instanceof HostLostError)) throw error;
      this.#alive = false;
      const { message: got, stderr } = error;
      differences.push({ scenario: this.#scenario.name, ...activity, kind: 'process', got, stderr });
    }
    return differences;
  }

  /** What a host is asked for; when its process is lost there is never an answer. */
  async #unlessLost<T>(work: Promise<T>): Promise<T> {
    if (this.#loss === undefined) return work;
    const first = await Promise.race([work, this.#loss]);
    if (first instanceof HostLostError) throw first;
    return first;
  }
}

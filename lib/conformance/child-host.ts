import { checkFields } from '../check';
import type { Names } from '../check';
import { LLMBackendError } from '../exception';
import { moduleFile } from '../package-files';
import { shortList } from '../short-list';
import { BackendModuleError } from './backend-module';
import { namedBackends } from './backends';
import { ForkedProcess } from './forked-process';
import type { Crc, ForeignCache, Host, HostSource, NodeFailure, Outcome, Setting } from './host';
import type { HostRequest, HostResults } from './host-message';
import type { Step } from './step';

/** How scenarios get processes. */
export interface ChildHostOptions {
  /**
   * What the instances are: `mock`, `mock-tcp`, `native`, or the path of a JavaScript file whose `module.exports` or `export default`
   * is a `BackendFactory`.
   */
  readonly backend: string;
  /**
   * How many processes a scenario has: one; one per node; or (`tagged`) one per node where it has the tag `per-node`, and
   * else one.
   */
  readonly processes: 'scenario' | 'node' | 'tagged';
  /** How long a process may exist, in milliseconds, 1 to 2^31-1; default 60,000. */
  readonly limitMs?: number;
  /** Takes each line that a process prints, to standard output or standard error. */
  readonly onLine?: (line: string, scenario: string, nodes: readonly string[]) => void;
  /** Where this package runs without being compiled: `host-program`, compiled. @internal */
  readonly program?: string;
}

const CHILD_HOST_OPTIONS: Names<ChildHostOptions> = {
  backend: true,
  processes: true,
  limitMs: true,
  onLine: true,
  program: true,
};

/** What a process has to run to be the process of a host. */
const HOST_PROGRAM = 'conformance/host-program';

const DEFAULT_LIMIT_MS = 60_000;

/** More names would not make clearer whose process it is. */
const MAX_NODES_TOLD = 4;

/**
 * Nodes in child processes, which get this one's environment. They end with this process, however it ends.
 *
 * A process that ends before its time (by a signal, or by itself), that ends with an exit code other than 0, or that does not
 * end within the limit is a difference of its scenario.
 *
 * @throws Error in a bundle, which has no file for a process to run
 */
export function childHosts(options: ChildHostOptions): HostSource {
  checkFields(options, 'options', CHILD_HOST_OPTIONS, 'option');
  const { backend, processes, limitMs = DEFAULT_LIMIT_MS, onLine, program = moduleFile(HOST_PROGRAM) } = options;
  return ({ name, nodes, tags }) => {
    const apart = processes === 'node' || (processes === 'tagged' && tags.includes('per-node'));
    const names = [...nodes.keys()];
    const groups = apart ? names.map((node) => [node]) : [names];
    const hosts = groups.map((group) => {
      const title = shortList(group, MAX_NODES_TOLD).join(', ');
      const print = (line: string) => onLine?.(line, name, group);
      return new ChildHost(group, backend, new ForkedProcess({ title, program, limitMs, onLine: print }));
    });
    return { hosts, freePorts: namedBackends(backend, { alone: apart })().freePorts };
  };
}

/** Nodes that live in a child process. */
class ChildHost implements Host {
  constructor(
    readonly nodes: readonly string[],
    private readonly backend: string,
    readonly process: ForkedProcess,
  ) {}

  start(setting: Setting): Promise<NodeFailure | undefined> {
    return this.#ask({ kind: 'start', backend: this.backend, setting });
  }

  make(step: Step, foreign: ReadonlyMap<string, ForeignCache>): Promise<Outcome> {
    return this.#ask({ kind: 'make', step, foreign });
  }

  crc(cache: string): Promise<Crc> {
    return this.#ask({ kind: 'crc', cache });
  }

  finalize(node: string): Promise<NodeFailure | undefined> {
    return this.#ask({ kind: 'finalize', node });
  }

  free(): Promise<readonly NodeFailure[]> {
    return this.#ask({ kind: 'free' });
  }

  async #ask<K extends keyof HostResults>(request: Extract<HostRequest, { kind: K }>): Promise<HostResults[K]> {
    const answer = await this.process.ask(request);
    switch (answer.kind) {
      case 'result':
        return answer.result as HostResults[K];
      case 'no library': {
        const { attempts, unsupported, notes, signs, advice } = answer.failure;
        throw new LLMBackendError(attempts, { unsupported, notes, signs, advice });
      }
      case 'no module':
        throw new BackendModuleError(answer.message);
    }
  }
}

import type { BackendSettings } from './backends';
import type { DifferenceKind } from './difference';
import type { FreePorts } from './ports';
import type { Scenario, ScenarioNode } from './scenario';
import type { DescFields, Step } from './step';

/**
 * Where nodes of a scenario live: this process or another one.
 *
 * All arguments and results are plain data that a structured clone keeps, and calls come one after the other.
 */
export interface Host {
  /** The nodes that live here, by name. */
  readonly nodes: readonly string[];
  /** Only where they live in a separate process. */
  readonly process?: HostProcess;

  /**
   * Makes the instances. It is called once, before anything else.
   * @returns what went wrong, when one could not be made
   * @throws LLMBackendError, BackendModuleError where there is no such backend, for this scenario or any other
   */
  start(setting: Setting): Promise<NodeFailure | undefined>;
  /** Makes the call of a step of one of the nodes; `foreign` are the caches in it that were registered elsewhere. */
  make(step: Step, foreign: ReadonlyMap<string, ForeignCache>): Promise<Outcome>;
  /** CRC-32 over the bytes of a cache that was registered here, as recordings write it. */
  crc(cache: string): Promise<Crc>;
  /** Finalizes the instance of a node. @returns what went wrong */
  finalize(node: string): Promise<NodeFailure | undefined>;
  /** Frees the memory of all caches. @returns what went wrong */
  free(): Promise<readonly NodeFailure[]>;
}

/** The life of a process in which nodes live. */
export interface HostProcess {
  /** Resolves when it ended in any other way than {@link end} asks for. Calls that were under way never settle then. */
  readonly lost: Promise<HostLostError>;
  /** Asks it to end; resolves when it has ended with exit code 0. */
  end(): Promise<void>;
  /** Ends it by force, if it is still there. Does not wait, and never fails. */
  kill(): void;
}

/** What hosts get before the first step. */
export interface Setting extends BackendSettings {
  readonly scenario: string;
  /** The nodes of this host. */
  readonly nodes: ReadonlyMap<string, ScenarioNode>;
  /** The numbers of `${port:NAME}`, the same for all hosts of the scenario. */
  readonly ports: ReadonlyMap<string, number>;
}

/** A cache of another host: its memory cannot be had, its id can. */
export interface ForeignCache {
  readonly cacheId: bigint;
  readonly desc: DescFields;
}

/** The result of a call. 64-bit numbers are bigints. */
export type Outcome =
  | {
      readonly kind: 'success';
      /** Of link and unlink: one status per cluster. */
      readonly results?: readonly number[];
      /** Of a registration. */
      readonly cacheId?: bigint;
    }
  | {
      readonly kind: 'refused';
      readonly status: number;
      readonly message: string;
      readonly remedy: string;
      /** Of link and unlink: one status per cluster. */
      readonly results: readonly number[];
    }
  /** It was rejected with something that no call may be rejected with, or its memory could not be had. */
  | { readonly kind: 'broken'; readonly difference: DifferenceKind; readonly error: string }
  /** What it needs and what is there instead. */
  | { readonly kind: 'not made'; readonly needed: string; readonly found: string };

export type Crc = { readonly crc: string } | { readonly error: string };

/** What went wrong with a node apart from the steps. */
export interface NodeFailure {
  readonly node: string;
  readonly error: string;
}

/** The hosts of one scenario: every node lives on exactly one. */
export interface ScenarioHosts {
  readonly hosts: readonly Host[];
  readonly freePorts: FreePorts;
}

/** Called once per run of a scenario. */
export type HostSource = (scenario: Scenario, settings: BackendSettings) => ScenarioHosts;

/** The process of a host ended, or had to be ended, before its work was done. */
export class HostLostError extends Error {
  override readonly name = 'HostLostError';

  /**
   * @param message which process, and how it ended
   * @param stderr the last lines that it wrote there
   */
  constructor(
    message: string,
    readonly stderr: readonly string[],
  ) {
    super(message);
  }
}

import type { LLMDataDist, LLMDataDistOptions } from '../../../lib';
import type { FaultPlan, NodePlan } from '../steps';

/** How long calls may take, in milliseconds of the stage. */
export interface TimeLimits {
  /** Whether what hangs can be left to the hang watch: not where time is real. */
  readonly waitsForHangs: boolean;
  /** All calls in flight, at the end: many in a lane, each with its own limit and a minute more, one after the other. */
  readonly longestMs: number;
  /** In between: what hangs until a fault goes is left then. */
  readonly shortMs: number;
  /** How much time passes between two looks: at first, and at most. */
  readonly firstStepMs: number;
  readonly mostStepMs: number;
}

/** What the instances of one interleaving live on. Nodes are numbers from 0 on. */
export interface Stage {
  readonly firstClusterId: bigint;
  /**
   * Whether the program must not finalize a node while peers transfer with it. The vendor's library reads and writes freed
   * memory then, and so does what stands in for it: that cannot be prevented (native/SAFETY.md).
   */
  readonly isCautious: boolean;
  readonly limits: TimeLimits;
  newNode(node: number, options: LLMDataDistOptions): LLMDataDist;
  addressOf(node: number): { readonly ip: string; readonly port: number };
  /** The hang timeout of a node: as planned where time takes no time. */
  hangTimeoutOf(plan: NodePlan): number;
  inject(fault: FaultPlan): Promise<void>;
  removeFault(index: number): Promise<void>;
  removeFaults(): Promise<void>;
  kill(node: number): Promise<void>;
  restart(node: number): Promise<void>;
  partition(a: number, b: number): Promise<void>;
  heal(): Promise<void>;
  /**
   * When no fault holds anything any more: resolves when the calls have come back that were given up with their instance. Until then
   * the library refuses those of others.
   */
  untilBack(): Promise<void>;
  /** Lets time pass. */
  pass(ms: number): Promise<void>;
  /** @throws Error that names what is left when all nodes were finalized */
  assertIdle(lost: readonly number[]): Promise<void>;
  close(): Promise<void>;
}

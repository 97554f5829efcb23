import type { ClusterInfo } from '../backend/backend';
import type { Operation } from '../backend/mock/call-observer';
import type { CheckedFault } from './fault';
import { checkFault, describeFault } from './fault';

/** A fault that a fabric was given. */
export interface InjectedFault {
  /** How many calls it has hit. */
  readonly hits: number;
  /** It hits no call any more. Calls that hang because of it go on; those that it delays wait until that has passed. */
  remove(): void;
}

/** What a fault looks at in a call. */
export interface FaultTarget {
  readonly operation: Operation;
  readonly node: bigint;
  readonly peer: bigint | undefined;
  readonly cacheId: bigint | undefined;
}

/** A cluster of a link or unlink call. */
export type TargetCluster = Pick<ClusterInfo, 'remoteClusterId'>;

type Now<T> = T | Promise<T>;

/** Where the calls of a node learn which faults hit them: at once, or from another process. */
export interface FaultSource {
  /** Whether no call is hit at present, and none needs to ask. */
  readonly isEmpty: boolean;
  hit(target: FaultTarget): Now<CheckedFault | undefined>;
  hitClusters(target: FaultTarget, clusters: readonly TargetCluster[]): Now<(CheckedFault | undefined)[]>;
}

/** Whether a fault looks at a call, as far as the fault says. */
export function concerns(fault: CheckedFault, { operation, node, peer, cacheId }: FaultTarget): boolean {
  return (
    fault.ops.has(operation) &&
    (fault.node === undefined || fault.node === node) &&
    (fault.peer === undefined || fault.peer === peer) &&
    (fault.cacheId === undefined || fault.cacheId === cacheId)
  );
}

/** A fault that waits for its calls. */
export class ActiveFault implements InjectedFault {
  readonly #list: FaultList;
  #skip: number;
  #hits = 0;

  constructor(
    list: FaultList,
    readonly fault: CheckedFault,
  ) {
    this.#list = list;
    this.#skip = fault.skip;
  }

  /** The fault for logs. */
  toJSON(): Record<string, unknown> {
    return { fault: this.fault.definition, hits: this.#hits };
  }

  get hits(): number {
    return this.#hits;
  }

  remove(): void {
    this.#list.remove(this);
  }

  /** Whether it has hit as often as it may. */
  get isSpent(): boolean {
    return this.#hits >= this.fault.times;
  }

  /** Whether a call that it concerns is hit, which counts. */
  take(): boolean {
    if (this.#skip > 0) {
      this.#skip -= 1;
      return false;
    }
    if (this.isSpent) return false;
    this.#hits += 1;
    return true;
  }

  /** What it has not done yet, if a test may expect that it has. */
  get pending(): string | undefined {
    const { times } = this.fault;
    if (times === Infinity ? this.#hits > 0 : this.#hits >= times) return undefined;
    const still = this.#skip > 0 ? `, ${this.#skip} calls still to let pass` : '';
    const wanted = times === Infinity ? '' : ` of ${times}`;
    return `${describeFault(this.fault)}: ${this.#hits}${wanted} hits${still}`;
  }
}

/** The faults of a fabric, in the order of injection. */
export class FaultList implements FaultSource {
  #active: ActiveFault[] = [];

  get isEmpty(): boolean {
    return this.#active.length === 0;
  }

  /** In the order of injection; those that are not removed. */
  get active(): readonly ActiveFault[] {
    return this.#active;
  }

  get count(): number {
    return this.#active.length;
  }

  inject(fault: unknown): ActiveFault {
    const active = new ActiveFault(this, checkFault(fault));
    this.#active.push(active);
    return active;
  }

  remove(fault: ActiveFault): void {
    this.#active = this.#active.filter((each) => each !== fault);
    fault.fault.removal.remove();
  }

  /** The fault that hits a call. */
  hit(target: FaultTarget): CheckedFault | undefined {
    return this.#active.find((active) => concerns(active.fault, target) && active.take())?.fault;
  }

  /** The faults that hit the clusters of a call, which counts once for each fault, however many of them it hits. */
  hitClusters(target: FaultTarget, clusters: readonly TargetCluster[]): (CheckedFault | undefined)[] {
    const hits = clusters.map((): CheckedFault | undefined => undefined);
    for (const active of this.#active) {
      const concerned = clusters.flatMap(({ remoteClusterId }, i) =>
        hits[i] === undefined && concerns(active.fault, { ...target, peer: remoteClusterId }) ? [i] : [],
      );
      if (concerned.length > 0 && active.take()) for (const i of concerned) hits[i] = active.fault;
    }
    return hits;
  }

  /** What the faults that are not removed have not done yet. */
  pending(): string[] {
    return this.#active.flatMap((active) => active.pending ?? []);
  }
}

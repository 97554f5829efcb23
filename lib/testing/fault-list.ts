import type { ClusterInfo } from '../backend/backend';
import type { Operation } from '../backend/mock/call-observer';
import type { CheckedFault } from './fault';
import { checkFault, describeFault } from './fault';

/** A fault that a fabric was given. */
export interface InjectedFault {
  /** How many calls it has hit. */
  readonly hits: number;
  /** It hits no call any more; what it has begun goes on. */
  remove(): void;
}

/** What a fault looks at in a call. */
export interface FaultTarget {
  readonly operation: Operation;
  readonly node: bigint;
  readonly peer: bigint | undefined;
  readonly cacheId: bigint | undefined;
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

  get hits(): number {
    return this.#hits;
  }

  remove(): void {
    this.#list.remove(this);
  }

  concerns({ operation, node, peer, cacheId }: FaultTarget): boolean {
    const { fault } = this;
    return (
      fault.ops.has(operation) &&
      (fault.node === undefined || fault.node === node) &&
      (fault.peer === undefined || fault.peer === peer) &&
      (fault.cacheId === undefined || fault.cacheId === cacheId)
    );
  }

  /** Whether a call that it concerns is hit, which counts. */
  take(): boolean {
    if (this.#skip > 0) {
      this.#skip -= 1;
      return false;
    }
    if (this.#hits >= this.fault.times) return false;
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
export class FaultList {
  #active: ActiveFault[] = [];

  get isEmpty(): boolean {
    return this.#active.length === 0;
  }

  get count(): number {
    return this.#active.length;
  }

  inject(fault: unknown): InjectedFault {
    const active = new ActiveFault(this, checkFault(fault));
    this.#active.push(active);
    return active;
  }

  remove(fault: ActiveFault): void {
    this.#active = this.#active.filter((each) => each !== fault);
  }

  /** The fault that hits a call. */
  hit(target: FaultTarget): CheckedFault | undefined {
    return this.#active.find((active) => active.concerns(target) && active.take())?.fault;
  }

  /** The faults that hit the clusters of a call, which counts once for each fault, however many of them it hits. */
  hitClusters(target: FaultTarget, clusters: readonly ClusterInfo[]): (CheckedFault | undefined)[] {
    const hits = clusters.map((): CheckedFault | undefined => undefined);
    for (const active of this.#active) {
      const concerned = clusters.flatMap(({ remoteClusterId }, i) =>
        hits[i] === undefined && active.concerns({ ...target, peer: remoteClusterId }) ? [i] : [],
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

import { checkFault } from '../fault';
import type { CheckedFault } from '../fault';
import { concerns } from '../fault-list';
import type { FaultSource, FaultTarget, TargetCluster } from '../fault-list';
import type { SharedFaultEntry } from './protocol';

/** Asks the hub which fault hits a call. `undefined` when there is no hub any more. */
export type AskHub = (call: 'hit' | 'hitClusters', args: Readonly<Record<string, unknown>>) => Promise<unknown>;

/**
 * The faults of a rehearsal as one of its processes knows them. The hub decides which call a fault hits, because `skip` and
 * `times` count the calls of all processes; it is asked only about calls that a fault looks at.
 */
export class SharedFaults implements FaultSource {
  readonly #ask: AskHub;
  /** Settles when the process has joined, or never will. */
  readonly #joined: Promise<void>;
  #isJoined = false;
  /** All that were ever known: an answer may name one that was removed meanwhile. */
  readonly #known = new Map<string, CheckedFault>();
  #active: readonly CheckedFault[] = [];

  constructor(ask: AskHub, joined: Promise<void>) {
    this.#ask = ask;
    this.#joined = joined;
  }

  get isEmpty(): boolean {
    return this.#isJoined && this.#active.length === 0;
  }

  /** A fault of this process: an error that it throws is the very one of the test. */
  keep(id: string, fault: CheckedFault): void {
    this.#known.set(id, fault);
  }

  /** What may hit calls from now on. */
  update(entries: readonly SharedFaultEntry[]): void {
    this.#isJoined = true;
    this.#active = entries.map(({ id, definition }) => {
      const fault = this.#known.get(id) ?? checkFault(definition);
      this.#known.set(id, fault);
      return fault;
    });
  }

  /** Calls of this process that hang because of them go on. */
  remove(ids: readonly string[]): void {
    for (const id of ids) this.#known.get(id)?.removal.remove();
  }

  async hit(target: FaultTarget): Promise<CheckedFault | undefined> {
    await this.#joined;
    if (!this.#active.some((fault) => concerns(fault, target))) return undefined;
    return this.#find(await this.#ask('hit', { target }));
  }

  async hitClusters(target: FaultTarget, clusters: readonly TargetCluster[]): Promise<(CheckedFault | undefined)[]> {
    await this.#joined;
    const ids = clusters.map(({ remoteClusterId }) => ({ remoteClusterId }));
    const isConcerned = this.#active.some((fault) =>
      ids.some(({ remoteClusterId }) => concerns(fault, { ...target, peer: remoteClusterId })),
    );
    const hits = isConcerned ? await this.#ask('hitClusters', { target, clusters: ids }) : undefined;
    return ids.map((_, i) => this.#find(Array.isArray(hits) ? hits[i] : undefined));
  }

  #find(id: unknown): CheckedFault | undefined {
    return typeof id === 'string' ? this.#known.get(id) : undefined;
  }
}

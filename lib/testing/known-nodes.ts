import { outOfRange } from '../check';
import { shortList } from '../short-list';
import { clusterIdOf } from './node-ref';

/** The nodes of a fabric of which an instance was ever made, and those that were killed. */
export class KnownNodes {
  readonly #all = new Set<bigint>();
  readonly #down = new Set<bigint>();

  get all(): ReadonlySet<bigint> {
    return this.#all;
  }

  /** Killed, and not restarted. */
  get down(): ReadonlySet<bigint> {
    return this.#down;
  }

  isDown(node: bigint): boolean {
    return this.#down.has(node);
  }

  add(node: bigint): void {
    this.#all.add(node);
  }

  /** @throws RangeError for a node of which no instance was made */
  check(node: unknown): bigint {
    const id = clusterIdOf(node, 'node');
    if (!this.#all.has(id)) throw outOfRange('node', `a node of this fabric${choice(this.#all)}`, id);
    return id;
  }

  /** It may be made again, whether it was killed or not. */
  revive(node: bigint): void {
    this.#down.delete(node);
  }

  kill(node: bigint): void {
    this.#down.add(node);
  }

  /** @throws RangeError for a node that was not killed */
  restart(node: unknown): bigint {
    const id = clusterIdOf(node, 'node');
    if (!this.#down.delete(id)) throw outOfRange('node', `a node that was killed${choice(this.#down)}`, id);
    return id;
  }
}

export function namedNodes(nodes: Iterable<bigint>): string {
  return shortList(Array.from(nodes, (id) => `cluster ${id}`)).join(', ');
}

/** The choice there is, for a message. */
function choice(nodes: ReadonlySet<bigint>): string {
  return nodes.size === 0 ? ', of which there is none' : `: ${namedNodes(nodes)}`;
}

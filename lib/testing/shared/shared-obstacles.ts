import type { Obstacles } from '../../backend/mock/network';
import { Partitions } from '../partitions';
import type { PartitionState } from '../partitions';
import type { Side } from './protocol';

const NOTHING: PartitionState = { isolated: [], parted: [], joined: [] };

/** The partitions of a rehearsal as one of its processes knows them. */
export class SharedObstacles implements Obstacles {
  readonly #made = new Partitions();
  readonly #served = new Partitions();

  between(from: bigint, to: bigint | undefined): boolean {
    return this.#made.between(from, to);
  }

  blocks(from: bigint, to: bigint): boolean {
    return this.#served.between(from, to);
  }

  update(state: PartitionState, sides: readonly Side[]): void {
    if (sides.includes('made')) this.#made.restore(state);
    if (sides.includes('served')) this.#served.restore(state);
  }

  clear(): void {
    this.update(NOTHING, ['made', 'served']);
  }
}

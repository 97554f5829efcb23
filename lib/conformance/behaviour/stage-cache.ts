import type { Cache, CacheIndex } from '../../backend/backend';
import type { CacheMemory } from '../cache-memory';
import { initialBytes } from '../cache-memory';
import { tensorBytesOf } from './cache-desc';
import type { Contents } from './contents';
import { contentDifferences } from './contents';
import type { StageNode } from './stage-node';

/** A registered cache, and what it is to hold. */
export class StageCache {
  /** What it held when it was registered. */
  readonly initial: Contents;

  constructor(
    readonly local: Cache,
    readonly node: StageNode,
    private readonly memory: CacheMemory,
    base: number,
  ) {
    const { numTensors } = local.desc;
    const bytes = tensorBytesOf(local.desc);
    this.initial = Array.from({ length: numTensors }, (_, t) => initialBytes(t, 1, bytes, base));
  }

  get id(): bigint {
    return this.local.cacheId;
  }

  /** As the other side names it. */
  at(batchIndex = 0): CacheIndex {
    return { clusterId: this.node.clusterId, cacheId: this.id, batchIndex };
  }

  /** Where its bytes are not as expected. */
  async differences(expected: Contents): Promise<string[]> {
    return contentDifferences(await this.memory.tensors(), expected);
  }
}

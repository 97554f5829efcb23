import type { CacheEntry, CacheLayout, Snapshot } from './cache-table';
import type { LinkEnd } from './peer';
import type { Tensor } from './registered-memory';
import type { Refusal } from './refusal';
import { failed, invalid } from './refusal';
import type { Session } from './session';
import type { Direction, Span, TensorPairs } from './transfer';

/**
 * An end of a link that is in this process: what its session offers to the other side. The transport knows the memory
 * that was registered when the link was made, and no other.
 */
export class LocalEnd implements LinkEnd<CacheEntry> {
  /** @internal For whoever looks at the network from outside. */
  readonly session: Session;
  readonly #sequence: number;

  constructor(session: Session) {
    this.session = session;
    this.#sequence = session.memory.sequence;
  }

  get clusterId(): bigint {
    return this.session.clusterId;
  }

  get alive(): boolean {
    return this.session.alive;
  }

  copyTable(): Snapshot | undefined {
    return this.session.table.snapshot();
  }

  hasCache(cacheId: bigint): boolean {
    return this.session.table.get(cacheId) !== undefined;
  }

  move(
    direction: Direction,
    local: CacheEntry,
    remote: CacheEntry,
    { localStart, remoteStart, count }: TensorPairs,
    spans: readonly Span[],
    written?: () => void,
  ): void {
    this.checkReach(remote, remoteStart, count, 'remote');
    for (let i = 0; i < count; i++) {
      const mine = local.tensorAt(localStart + i);
      const theirs = remote.tensorAt(remoteStart + i);
      for (const span of spans) {
        if (direction === 'pull') copy(theirs, span.remote, mine, span.local, span.length);
        else copy(mine, span.local, theirs, span.remote, span.length);
      }
    }
    written?.();
  }

  release(): void {
    this.session.ends.delete(this);
  }

  /** Refuses tensors whose memory the link does not reach: registered later, deregistered or freed since. */
  checkReach(entry: CacheEntry, first: number, count: number, side: 'local' | 'remote'): void {
    const sequence = this.#sequence;
    for (let i = first; i < first + count; i++) {
      const tensor = entry.tensorAt(i);
      const { handle } = tensor;
      if (!handle.live || handle.sequence > sequence || tensor.region.freed) throw this.#unreachable(tensor, side);
    }
  }

  #unreachable({ handle }: Tensor, side: 'local' | 'remote'): Refusal {
    if (handle.live && handle.sequence <= this.#sequence) {
      return failed(`the ${side} memory was freed while it was registered`);
    }
    const problem = `the ${side} memory was not registered when the link was made, or was unregistered since`;
    return this.session.engine === 'hixl' ? invalid(problem) : failed(problem);
  }
}

/** The tensors of a cache whose bytes `spans` must lie in are all of one size. */
export function checkInside(offset: number, length: number, entry: CacheLayout, side: 'local' | 'remote'): void {
  if (offset + length > entry.tensorBytes) {
    throw invalid(
      `bytes ${offset} to ${offset + length} are outside the ${side} tensor of ${entry.tensorBytes} bytes (cache ${entry.id})`,
    );
  }
}

function copy(src: Tensor, srcOffset: number, dst: Tensor, dstOffset: number, length: number): void {
  const start = src.offset + srcOffset;
  dst.region.bytes.set(src.region.bytes.subarray(start, start + length), dst.offset + dstOffset);
}

import type { StandIn } from '../test/native/standin/control';
import type { BlockList } from '../lib';
import type { BlockLists } from './block-copy';
import type { AsyncCall } from './callers';
import { checkReversed, fill } from './contents';
import { NATIVE, prepareNative, standInOf } from './native-setup';
import { blocksOf, startStar } from './node';
import type { Star } from './node';
import { Ring } from './ring';

/** Blocks of each cache; the longest lists name all of them. */
export const BLOCKS = 1024;
const BLOCK_BYTES = 64;

/** A node and its peers over the stand-in, whose transfers return at once. */
export class NativeStar {
  readonly standIn: StandIn;
  readonly #star: Star;

  private constructor(star: Star, standIn: StandIn) {
    this.#star = star;
    this.standIn = standIn;
  }

  /** @throws Unavailable */
  static async start(peers: number): Promise<NativeStar> {
    const build = prepareNative();
    const star = await startStar(NATIVE, blocksOf(BLOCK_BYTES, BLOCKS, 1), peers);
    await checkPulls(star);
    const standIn = standInOf(build);
    standIn.run('answer_at_once on');
    return new NativeStar(star, standIn);
  }

  /** Pulls of so many blocks from the first so many peers in turn, through the public API with its guards. */
  pulling(blocks: number, peers = 1): AsyncCall {
    const { src, dst } = listsOf(blocks);
    return this.pullingLists(src, dst, peers);
  }

  pullingLists(src: BlockList, dst: BlockList, peers = 1): AsyncCall {
    const { puller, local, owners } = this.#star;
    const manager = puller.dist.kvCacheManager;
    const keys = new Ring(owners.slice(0, peers).map(({ cache }) => cache.key()));
    return () => manager.pullBlocks(keys.next(), local, src, dst);
  }

  /** Pulls of a row, which need no lists. */
  pullingRow(): AsyncCall {
    const { puller, local, owners } = this.#star;
    const manager = puller.dist.kvCacheManager;
    const keys = new Ring(owners.map(({ cache }) => cache.key()));
    return () => manager.pullCache(keys.next(), local);
  }

  async close(): Promise<void> {
    this.standIn.reset();
    await this.#star.close();
  }
}

/** The first so many blocks, and the same the other way round. */
export function listsOf(blocks: number): BlockLists {
  const src = BigUint64Array.from({ length: blocks }, (_, i) => BigInt(i));
  return { src, dst: src.toReversed() };
}

/** The library must get what it is given, before it looks at nothing any more. */
async function checkPulls({ puller, local, owners }: Star): Promise<void> {
  for (const { cache } of owners.slice(0, 1)) {
    const filled = { local, remote: cache, blockBytes: BLOCK_BYTES, rows: BLOCKS };
    await fill(filled);
    const { src, dst } = listsOf(BLOCKS);
    await puller.dist.kvCacheManager.pullBlocks(cache.key(), local, src, dst);
    await checkReversed(filled);
  }
}

import { DataType } from '../lib';
import type { CacheDesc, CacheKeyByIdAndIndex, KvCache, MemoryRegion } from '../lib';
import { Fabric } from '../lib/testing';
import { blocksOf, startNode } from './node';
import type { Node } from './node';
import { timed } from './rounds';

const BLOCK_BYTES = 64;
const ROWS = 8;
const CACHE = blocksOf(BLOCK_BYTES, ROWS, 1);
const SPARE: CacheDesc = { numTensors: 1, dataType: DataType.DT_UINT8, shape: [ROWS, BLOCK_BYTES] };
/** Most links that are taken down before they are made again, or caches registered before they are unregistered. */
const CHUNK = 1024;
/** The order in which links and nodes are visited: the same in every run. */
const SEED = 20_250_601;

/** What is measured in a world. */
export const STEPS = ['pull', 'link', 'unlink', 'register', 'unregister'] as const;
export type Step = (typeof STEPS)[number];

interface Member extends Node {
  readonly cache: KvCache;
  readonly key: CacheKeyByIdAndIndex;
  /** Memory that is registered and unregistered again. */
  readonly spare: MemoryRegion;
}

interface Link {
  readonly initiator: Member;
  readonly acceptor: Member;
}

export interface WorldSize {
  readonly nodes: number;
  /** Links that each node makes, to the nodes that follow it, as far as there are that many pairs. */
  readonly linksPerNode: number;
}

/** Nodes on one fabric, linked to each other, and the cost of one more step among them. */
export class World {
  readonly #members: readonly Member[];
  readonly #links: readonly Link[];
  #nextLink = 0;
  #nextMember = 0;

  private constructor(members: readonly Member[], links: readonly Link[]) {
    this.#members = members;
    this.#links = links;
  }

  static async build({ nodes, linksPerNode }: WorldSize): Promise<World> {
    const fabric = new Fabric();
    const members: Member[] = [];
    for (let i = 0; i < nodes; i++) members.push(await startMember(fabric, i));
    return new World(shuffled(members), shuffled(pairsOf(members, linksPerNode)));
  }

  get links(): number {
    return this.#links.length;
  }

  /** Makes all links, node by node, and pulls once over each of them, either way: so the peers' tables are known. */
  async linkAll(): Promise<void> {
    for (const link of this.#links) await makeLink(link);
    for (const { initiator, acceptor } of this.#links) {
      await pull(initiator, acceptor, 0);
      await pull(acceptor, initiator, 0);
    }
  }

  /** Milliseconds that `operations` steps take. */
  run(step: Step, operations: number): Promise<number> {
    switch (step) {
      case 'pull':
        return this.#pulls(operations);
      case 'link':
      case 'unlink':
        return this.#inChunks(operations, this.#links.length, (count) => this.#relink(step, count));
      case 'register':
      case 'unregister':
        return this.#inChunks(operations, this.#members.length, (count) => this.#reregister(step, count));
    }
  }

  async close(): Promise<void> {
    for (const { dist, cache, spare } of this.#members) {
      await dist.kvCacheManager.deallocateCache(cache);
      await spare.free();
      await dist.finalize();
    }
  }

  /** Every pull over another link than the one before. */
  #pulls(operations: number): Promise<number> {
    return timed(async () => {
      for (let i = 0; i < operations; i++) {
        const { initiator, acceptor } = this.#takeLink();
        if (i % 2 === 0) await pull(initiator, acceptor, i % ROWS);
        else await pull(acceptor, initiator, i % ROWS);
      }
    });
  }

  async #inChunks(operations: number, available: number, run: (count: number) => Promise<number>): Promise<number> {
    const chunk = Math.min(available, CHUNK);
    let elapsed = 0;
    for (let left = operations; left > 0; left -= chunk) elapsed += await run(Math.min(left, chunk));
    return elapsed;
  }

  async #relink(step: 'link' | 'unlink', count: number): Promise<number> {
    const links = Array.from({ length: count }, () => this.#takeLink());
    const unlinking = await timed(async () => {
      for (const { initiator, acceptor } of links) await initiator.dist.unlinkClusters([acceptor.info]);
    });
    const linking = await timed(async () => {
      for (const link of links) await makeLink(link);
    });
    return step === 'link' ? linking : unlinking;
  }

  async #reregister(step: 'register' | 'unregister', count: number): Promise<number> {
    const members = Array.from({ length: count }, () => this.#takeMember());
    const caches: KvCache[] = [];
    const registering = await timed(async () => {
      for (const { dist, spare } of members) {
        caches.push(await dist.kvCacheManager.registerCache(SPARE, [spare.address]));
      }
    });
    const unregistering = await timed(async () => {
      for (const [i, { dist }] of members.entries()) await dist.kvCacheManager.unregisterCache(caches[i] ?? 0);
    });
    return step === 'register' ? registering : unregistering;
  }

  #takeLink(): Link {
    const link = this.#links[this.#nextLink++ % this.#links.length];
    if (link === undefined) throw new RangeError('a world without links has none to take');
    return link;
  }

  #takeMember(): Member {
    const member = this.#members[this.#nextMember++ % this.#members.length];
    if (member === undefined) throw new RangeError('a world without nodes has none to take');
    return member;
  }
}

async function startMember(fabric: Fabric, index: number): Promise<Member> {
  const node = await startNode(fabric, index);
  const cache = await node.dist.kvCacheManager.allocateCache(CACHE);
  const spare = await node.dist.allocateMemory(ROWS * BLOCK_BYTES);
  return { ...node, cache, key: cache.key(), spare };
}

/** Each node with those that follow it in a ring; no pair twice, for one link serves both of its ends. */
export function pairsOf(members: readonly Member[], linksPerNode: number): Link[] {
  const reach = Math.min(linksPerNode, members.length - 1);
  const links: Link[] = [];
  const seen = new Set<number>();
  for (const [i, initiator] of members.entries()) {
    for (let step = 1; step <= reach; step++) {
      const j = (i + step) % members.length;
      const pair = Math.min(i, j) * members.length + Math.max(i, j);
      const acceptor = members[j];
      if (acceptor === undefined || seen.has(pair)) continue;
      seen.add(pair);
      links.push({ initiator, acceptor });
    }
  }
  return links;
}

async function makeLink({ initiator, acceptor }: Link): Promise<void> {
  await initiator.dist.linkClusters([acceptor.info]);
}

async function pull(puller: Member, owner: Member, block: number): Promise<void> {
  await puller.dist.kvCacheManager.pullBlocks(owner.key, puller.cache, [block], [ROWS - 1 - block]);
}

/** Fisher and Yates, with the generator of Numerical Recipes. */
function shuffled<T>(list: readonly T[]): T[] {
  const result = [...list];
  let state = SEED;
  for (let i = result.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [result[i], result[j]] = [result[j] as T, result[i] as T];
  }
  return result;
}

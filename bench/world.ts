import type { CacheKeyByIdAndIndex, KvCache, MemoryRegion } from '../lib';
import { Fabric } from '../lib/testing';
import { blocksOf, startNode } from './node';
import type { Node } from './node';
import { Ring } from './ring';
import { timed } from './rounds';
import { shuffled } from './shuffled';

const BLOCK_BYTES = 64;
const ROWS = 8;
const CACHE = blocksOf(BLOCK_BYTES, ROWS, 1);
/** Most links that are taken down before they are made again, or caches registered before they are unregistered. */
const CHUNK = 1024;

/** What is measured in a world; links and registrations are undone between measurements, and that is not counted. */
export const STEPS = ['pull', 'link', 'register'] as const;
export type Step = (typeof STEPS)[number];

/** Where steps go: to ten of the nodes and the links between them, or to all. */
export const VISITS = ['ten nodes', 'all nodes'] as const;
export type Visit = (typeof VISITS)[number];
const FEW = 10;

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
  readonly #members: Readonly<Record<Visit, Ring<Member>>>;
  readonly #links: Readonly<Record<Visit, Ring<Link>>>;
  /** Every node's links after those of the node before it, as an orchestrator makes them. */
  readonly #inOrder: readonly (readonly [initiator: Member, acceptor: Member])[];

  private constructor(members: readonly Member[], linksPerNode: number) {
    this.#inOrder = pairsOf(members, linksPerNode);
    // Made in the order in which they are visited, so that going through them costs little of what is measured.
    const links = shuffled(this.#inOrder).map(([initiator, acceptor]) => ({ initiator, acceptor }));
    const few = members.slice(0, FEW);
    const amongFew = links.filter(({ initiator, acceptor }) => few.includes(initiator) && few.includes(acceptor));
    this.#members = { 'ten nodes': new Ring(shuffled(few)), 'all nodes': new Ring(shuffled(members)) };
    this.#links = { 'ten nodes': new Ring(amongFew), 'all nodes': new Ring(links) };
  }

  static async build({ nodes, linksPerNode }: WorldSize): Promise<World> {
    const fabric = new Fabric();
    const members: Member[] = [];
    for (let i = 0; i < nodes; i++) members.push(await startMember(fabric, i));
    return new World(members, linksPerNode);
  }

  get links(): number {
    return this.#inOrder.length;
  }

  /** Makes all links, node by node, and pulls once over each of them, either way: so the peers' tables are known. */
  async linkAll(): Promise<void> {
    for (const [initiator, acceptor] of this.#inOrder) await makeLink({ initiator, acceptor });
    for (const [initiator, acceptor] of this.#inOrder) {
      await pull(initiator, acceptor, 0);
      await pull(acceptor, initiator, 0);
    }
  }

  /** Milliseconds that `operations` steps take. */
  run(step: Step, visit: Visit, operations: number): Promise<number> {
    const links = this.#links[visit];
    const members = this.#members[visit];
    switch (step) {
      case 'pull':
        return pullAround(links, operations);
      case 'link':
        return inChunks(operations, links, relink);
      case 'register':
        return inChunks(operations, members, register);
    }
  }

  async close(): Promise<void> {
    for (const { dist, cache, spare } of this.#members['all nodes'].items) {
      await dist.kvCacheManager.deallocateCache(cache);
      await spare.free();
      await dist.finalize();
    }
  }
}

/** Every pull over another link than the one before, this way or that. */
function pullAround(links: Ring<Link>, operations: number): Promise<number> {
  return timed(async () => {
    for (let i = 0; i < operations; i++) {
      const { initiator, acceptor } = links.next();
      if (i % 2 === 0) await pull(initiator, acceptor, i % ROWS);
      else await pull(acceptor, initiator, i % ROWS);
    }
  });
}

/** So many at a time that what is undone is not still in the processor's caches when it is done again. */
async function inChunks<T>(
  operations: number,
  ring: Ring<T>,
  run: (some: readonly T[]) => Promise<number>,
): Promise<number> {
  const chunk = Math.min(ring.items.length, CHUNK);
  let elapsed = 0;
  for (let left = operations; left > 0; left -= chunk) {
    elapsed += await run(Array.from({ length: Math.min(left, chunk) }, () => ring.next()));
  }
  return elapsed;
}

async function relink(links: readonly Link[]): Promise<number> {
  for (const { initiator, acceptor } of links) await initiator.dist.unlinkClusters([acceptor.info]);
  return timed(async () => {
    for (const link of links) await makeLink(link);
  });
}

async function register(members: readonly Member[]): Promise<number> {
  const caches: KvCache[] = [];
  const elapsed = await timed(async () => {
    for (const { dist, spare } of members) {
      caches.push(await dist.kvCacheManager.registerCache(CACHE, [spare.address]));
    }
  });
  for (const [i, { dist }] of members.entries()) await dist.kvCacheManager.unregisterCache(caches[i] ?? 0);
  return elapsed;
}

async function startMember(fabric: Fabric, index: number): Promise<Member> {
  const node = await startNode(fabric, index);
  const cache = await node.dist.kvCacheManager.allocateCache(CACHE);
  const spare = await node.dist.allocateMemory(ROWS * BLOCK_BYTES);
  return { ...node, cache, key: cache.key(), spare };
}

/** Each one with those that follow it in a ring; no pair twice, for one link serves both of its ends. */
export function pairsOf<T>(members: readonly T[], reach: number): (readonly [T, T])[] {
  const pairs: (readonly [T, T])[] = [];
  const seen = new Set<number>();
  for (const [i, first] of members.entries()) {
    for (let step = 1; step <= Math.min(reach, members.length - 1); step++) {
      const j = (i + step) % members.length;
      const number = Math.min(i, j) * members.length + Math.max(i, j);
      if (seen.has(number)) continue;
      seen.add(number);
      pairs.push([first, members[j] as T]);
    }
  }
  return pairs;
}

async function makeLink({ initiator, acceptor }: Link): Promise<void> {
  await initiator.dist.linkClusters([acceptor.info]);
}

async function pull(puller: Member, owner: Member, block: number): Promise<void> {
  await puller.dist.kvCacheManager.pullBlocks(owner.key, puller.cache, [block], [ROWS - 1 - block]);
}

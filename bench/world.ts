import type { CacheKeyByIdAndIndex, KvCache, LLMClusterInfo, LLMDataDist, MemoryRegion } from '../lib';
import { Fabric } from '../lib/testing';
import { blocksOf, onFabric, startNode } from './node';
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
export type Step = 'pull' | 'link' | 'register';

/** Where steps go: to ten of the nodes and the links between them, or to all; registrations to one of the nodes. */
export type Visit = 'one node' | 'ten nodes' | 'all nodes';

export interface Measurement {
  readonly step: Step;
  readonly visit: Visit;
}

export const MEASUREMENTS: readonly Measurement[] = [
  { step: 'pull', visit: 'ten nodes' },
  { step: 'link', visit: 'ten nodes' },
  { step: 'register', visit: 'one node' },
  { step: 'pull', visit: 'all nodes' },
  { step: 'link', visit: 'all nodes' },
];
const FEW = 10;
const SPARES = 64;

interface Member extends Node {
  readonly cache: KvCache;
  readonly key: CacheKeyByIdAndIndex;
}

interface Link {
  readonly initiator: Member;
  readonly acceptor: Member;
  /** The acceptor, as the initiator names it. */
  readonly target: LLMClusterInfo;
}

export interface WorldSize {
  readonly nodes: number;
  /** Links that each node makes, to the nodes that follow it, as far as there are that many pairs. */
  readonly linksPerNode: number;
}

/** Nodes on one fabric, linked to each other, and the cost of one more step among them. */
export class World {
  readonly #members: readonly Member[];
  readonly #links: Readonly<Record<'ten nodes' | 'all nodes', Ring<Link>>>;
  /** Every node's links after those of the node before it, as an orchestrator makes them. */
  readonly #inOrder: readonly Link[];
  readonly #registrar: Registrar;

  private constructor(members: readonly Member[], registrar: Registrar, linksPerNode: number) {
    this.#members = members;
    this.#registrar = registrar;
    const pairs = pairsOf(members, linksPerNode);
    this.#inOrder = pairs.map(([a, b]) => (b.dist === registrar.dist ? linkOf(b, a) : linkOf(a, b)));
    // Made in the order in which they are visited, so that going through them costs little of what is measured.
    const links = shuffled(this.#inOrder).map((link) => ({ ...link }));
    const few = members.slice(0, FEW);
    const amongFew = links.filter(({ initiator, acceptor }) => few.includes(initiator) && few.includes(acceptor));
    this.#links = { 'ten nodes': new Ring(amongFew), 'all nodes': new Ring(links) };
  }

  static async build({ nodes, linksPerNode }: WorldSize): Promise<World> {
    const fabric = new Fabric();
    const first = await startMember(fabric, 0, false);
    const members = [first];
    for (let i = 1; i < nodes; i++) members.push(await startMember(fabric, i, true));
    return new World(members, await Registrar.of(first), linksPerNode);
  }

  get links(): number {
    return this.#inOrder.length;
  }

  /** Makes all links, node by node, and pulls once over each of them, either way: so the peers' tables are known. */
  async linkAll(): Promise<void> {
    for (const link of this.#inOrder) await makeLink(link);
    for (const { initiator, acceptor } of this.#inOrder) {
      await pull(initiator, acceptor, 0);
      await pull(acceptor, initiator, 0);
    }
  }

  /** Milliseconds that `operations` steps take. */
  run({ step, visit }: Measurement, operations: number): Promise<number> {
    if (visit === 'one node') return inChunks(operations, this.#registrar.spares, (some) => this.#registrar.run(some));
    const links = this.#links[visit];
    return step === 'pull' ? pullAround(links, operations) : inChunks(operations, links, relink);
  }

  async close(): Promise<void> {
    await this.#registrar.close();
    for (const { dist, cache } of this.#members) {
      await dist.kvCacheManager.deallocateCache(cache);
      await dist.finalize();
    }
  }
}

/**
 * The node that registers. It does not listen, so that it knows all its links: of a cache that is registered and
 * unregistered after they were made none of them knows, and the library is told at once.
 */
class Registrar {
  readonly dist: LLMDataDist;
  readonly spares: Ring<MemoryRegion>;

  private constructor(dist: LLMDataDist, spares: readonly MemoryRegion[]) {
    this.dist = dist;
    this.spares = new Ring(spares);
  }

  static async of({ dist }: Node): Promise<Registrar> {
    const spares: MemoryRegion[] = [];
    for (let i = 0; i < SPARES; i++) spares.push(await dist.allocateMemory(ROWS * BLOCK_BYTES));
    return new Registrar(dist, spares);
  }

  async run(spares: readonly MemoryRegion[]): Promise<number> {
    const manager = this.dist.kvCacheManager;
    const caches: KvCache[] = [];
    const elapsed = await timed(async () => {
      for (const { address } of spares) caches.push(await manager.registerCache(CACHE, [address]));
    });
    for (const cache of caches) await manager.unregisterCache(cache);
    return elapsed;
  }

  async close(): Promise<void> {
    for (const spare of this.spares.items) await spare.free();
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
  for (const { initiator, target } of links) await initiator.dist.unlinkClusters([target]);
  return timed(async () => {
    for (const link of links) await makeLink(link);
  });
}

async function startMember(fabric: Fabric, index: number, listens: boolean): Promise<Member> {
  const node = await startNode(onFabric(fabric), index, listens);
  const cache = await node.dist.kvCacheManager.allocateCache(CACHE);
  return { ...node, cache, key: cache.key() };
}

function linkOf(initiator: Member, acceptor: Member): Link {
  const target = { ...acceptor.info, localIpInfos: initiator.info.remoteIpInfos };
  return { initiator, acceptor, target };
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

async function makeLink({ initiator, target }: Link): Promise<void> {
  await initiator.dist.linkClusters([target]);
}

async function pull(puller: Member, owner: Member, block: number): Promise<void> {
  await puller.dist.kvCacheManager.pullBlocks(owner.key, puller.cache, [block], [ROWS - 1 - block]);
}

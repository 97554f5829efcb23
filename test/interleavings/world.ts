import type { CacheKeyByIdAndIndex, KvCache, LLMDataDist, MemoryRegion } from '../../lib';
import type { CallName, CallStep, NodePlan, Plan } from './steps';
import type { Stage } from './stages/stage';
import { Memory } from './memory';

/** A registered cache, as the program knows it. */
export interface CacheRecord {
  readonly memory: Memory;
  /** `undefined` when the program has dropped its handle; the cache is still registered, and peers have its key. */
  handle: KvCache | undefined;
  readonly key: CacheKeyByIdAndIndex;
}

/** What is known of a link, of this side's own calls. */
export interface LinkRecord {
  /** The life that was stated; `undefined` where none was or where that is not certain. */
  readonly life: string | undefined;
}

export class NodeRecord {
  readonly plan: NodePlan;
  readonly number: number;
  readonly clusterId: bigint;
  dist: LLMDataDist;
  isKilled = false;
  caches: CacheRecord[] = [];
  /** Memory that is allocated and not registered. */
  spare: Memory[] = [];
  /** Regions that are allocated for the calls of memory alone. */
  regions: { readonly region: MemoryRegion; readonly memory: Memory }[] = [];
  readonly links = new Map<number, LinkRecord>();
  /** Keys of caches that are gone, or will be. */
  oldKeys: CacheKeyByIdAndIndex[] = [];
  /** Transfers of other nodes with this one that are not released. */
  transfersWithIt = 0;

  constructor(plan: NodePlan, number: number, clusterId: bigint, dist: LLMDataDist) {
    this.plan = plan;
    this.number = number;
    this.clusterId = clusterId;
    this.dist = dist;
  }

  /** Its memory is gone, or may be at any moment. */
  forget(): void {
    for (const { memory } of [...this.caches, ...this.regions]) memory.forget();
    for (const memory of this.spare) memory.forget();
    this.oldKeys.push(...this.caches.map(({ key }) => key));
    this.caches = [];
    this.spare = [];
    this.regions = [];
    this.links.clear();
  }
}

/** Which nodes have a use for a call. */
const WANTED: Partial<Record<CallName, (node: NodeRecord) => boolean>> = {
  init: ({ dist, isKilled }) => !dist.isInitialized && !isKilled && !dist.isLost,
  allocateCache: ({ dist, caches }) => dist.isInitialized && caches.length === 0,
  linkClusters: ({ dist, number }) => dist.isInitialized && number > 0,
  write: ({ regions }) => regions.length > 0,
  read: ({ regions }) => regions.length > 0,
  free: ({ regions }) => regions.length > 0,
};

/** All that an interleaving knows of its cluster. */
export class World {
  readonly stage: Stage;
  readonly nodes: NodeRecord[];
  /** Instances that were killed, and that another one has followed: they are finalized at the end, as a test should. */
  readonly dead: LLMDataDist[] = [];

  constructor(plan: Plan, stage: Stage) {
    this.stage = stage;
    this.nodes = plan.nodes.map(
      (each, i) => new NodeRecord(each, i, stage.firstClusterId + BigInt(i), this.#newDist(each, i)),
    );
  }

  node(number: number): NodeRecord {
    return this.nodes[number % this.nodes.length]!;
  }

  /** The node of a step; for some calls another one that has more use for them, so that clusters recover. */
  nodeFor({ call, node }: CallStep): NodeRecord {
    const chosen = this.node(node);
    const isWanted = WANTED[call];
    if (isWanted === undefined || isWanted(chosen)) return chosen;
    return this.nodes.find(isWanted) ?? chosen;
  }

  /** Another node than that one. */
  peer(of: NodeRecord, { peer }: Pick<CallStep, 'peer'>): NodeRecord {
    const chosen = this.node(peer);
    return chosen === of ? this.node(of.number + 1) : chosen;
  }

  /** Its process begins anew. */
  renew(node: NodeRecord): void {
    node.forget();
    this.dead.push(node.dist);
    node.dist = this.#newDist(node.plan, node.number);
    node.isKilled = false;
  }

  /** The links of all nodes with one that has gone prove nothing any more. */
  forgetLinks(gone: NodeRecord): void {
    gone.links.clear();
    for (const { links } of this.nodes) links.delete(gone.number);
  }

  initOptions({ plan, number }: NodeRecord) {
    const { ip, port } = this.stage.addressOf(number);
    const listen = plan.listens ? { listenIpInfo: `${ip}:${port}` } : {};
    return { deviceId: number, syncKvTimeout: plan.syncKvTimeout, ...listen };
  }

  /** A node as its peers name it. */
  clusterOf({ number, clusterId }: NodeRecord, life?: string) {
    const { ip, port } = this.stage.addressOf(number);
    return {
      remoteClusterId: clusterId,
      remoteIpInfos: [{ ip, port }],
      localIpInfos: [{ ip: '127.0.0.1', port: 1 }],
      ...(life !== undefined && { life }),
    };
  }

  #newDist(plan: NodePlan, number: number): LLMDataDist {
    const { requireLife } = plan;
    return this.stage.newNode(number, { requireLife, hangTimeout: this.stage.hangTimeoutOf(plan) });
  }
}

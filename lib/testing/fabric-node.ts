import type {
  BackendCacheDesc,
  BackendOptions,
  BlockLimits,
  Cache,
  CacheIndex,
  ClusterInfo,
  KvCacheExtParam,
  PushProgress,
} from '../backend/backend';
import { MockBackend } from '../backend/mock/mock-backend';
import type { Network } from '../backend/mock/network';
import { failed } from '../backend/mock/refusal';
import type { Refusal } from '../backend/mock/refusal';
import { letGoOfDead } from '../held-instances';
import type { NodeCall } from './node-call';
import { NodeCalls } from './node-calls';
import type { LaneFinder, Surroundings } from './node-calls';

/** The rules of a fabric that are more than what a node knows by itself. */
export interface NodeRules {
  /** Whether a node was killed and not restarted. */
  isDown(node: bigint): boolean;
  /** Called before an instance is initialised; says why it cannot be. */
  join(node: FabricNode): Promise<Refusal | undefined> | undefined;
  checkRegistration(node: FabricNode, addresses: number): Refusal | undefined;
  checkFinalize(node: FabricNode): Refusal | undefined;
  checkLink(node: FabricNode, clusters: readonly ClusterInfo[]): Refusal | undefined;
  /** Called for a transfer whose key carries no layout. */
  checkBareKey(key: CacheIndex): Refusal | undefined;
  checkRoleSwitch(node: FabricNode): Refusal | undefined;
}

/** An instance on a test fabric: a mock that says what it is called with, so that its calls can be recorded and changed. */
export class FabricNode extends MockBackend {
  readonly node: bigint;
  readonly calls: NodeCalls;
  readonly #rules: NodeRules;

  constructor(clusterId: bigint, role: number, fabric: Network, surroundings: Surroundings, rules: NodeRules) {
    const calls = new NodeCalls(clusterId, surroundings, {
      bytesAt: (address, byteLength) => {
        const place = this.space.find(address, byteLength);
        return place?.region.bytes.subarray(place.offset, place.offset + byteLength);
      },
      lanesOf: (operation, peer) => {
        const { session } = this;
        if (session === undefined) return [];
        const pushes = operation === 'pushCache' || operation === 'pushBlocks' ? [() => session.pushLane] : [];
        const find = () => session.links.find(peer);
        const link: LaneFinder = (call) => {
          const waiting = session.links.unlocked(call);
          return waiting === undefined ? find() : waiting.then(find);
        };
        return [...pushes, link];
      },
    });
    super(clusterId, role, { fabric, clock: surroundings.clock, observer: calls });
    this.node = clusterId;
    this.calls = calls;
    this.#rules = rules;
  }

  get isDead(): boolean {
    return this.calls.isDead;
  }

  /**
   * The process dies, and everything with it.
   * @param death what its calls are rejected with from now on, where it is not that the node was killed
   */
  kill(death?: () => Refusal): void {
    this.die();
    this.calls.die(death);
    letGoOfDead();
  }

  /** The instance has hung for too long: nobody waits for its calls any more. */
  abandon(): void {
    this.calls.giveUp(failed(`the calls of cluster ${this.node} were given up`));
  }

  override initialize(options: BackendOptions): Promise<void> {
    this.#note({ options: { ...options } }).check = () => {
      if (this.#rules.isDown(this.node)) {
        return failed(`cluster ${this.node} was killed and is down`, {
          remedy: 'Call restart(node) of the fabric first.',
          recovery: 'fix-environment',
        });
      }
      return this.#rules.join(this);
    };
    return super.initialize(options);
  }

  override finalize(): Promise<void> {
    this.calls.next.check = () => this.#rules.checkFinalize(this);
    return super.finalize();
  }

  override setRole(role: number, options: BackendOptions): Promise<void> {
    this.#note({ role, options: { ...options } }).check = () => this.#rules.checkRoleSwitch(this);
    return super.setRole(role, options);
  }

  override linkLlmClusters(clusters: readonly ClusterInfo[], timeoutMs: number): Promise<readonly number[]> {
    const call = this.#note({ clusters, timeoutMs });
    call.peer = onlyOne(clusters);
    call.check = () => this.#rules.checkLink(this, clusters);
    return super.linkLlmClusters(clusters, timeoutMs);
  }

  override unlinkLlmClusters(
    clusters: readonly ClusterInfo[],
    timeoutMs: number,
    force: boolean,
  ): Promise<readonly number[]> {
    this.#note({ clusters, timeoutMs, force }).peer = onlyOne(clusters);
    return super.unlinkLlmClusters(clusters, timeoutMs, force);
  }

  override registerKvCache(desc: BackendCacheDesc, addrs: BigUint64Array): Promise<bigint> {
    const call = this.#note({ desc, addrs: Array.from(addrs) });
    call.check = () => this.#rules.checkRegistration(this, addrs.length);
    return super.registerKvCache(desc, addrs);
  }

  override unregisterKvCache(cacheId: bigint): Promise<void> {
    this.calls.next.cacheId = cacheId;
    return super.unregisterKvCache(cacheId);
  }

  override pullKvCache(
    src: CacheIndex,
    dst: Cache,
    batchIndex: number,
    size: bigint,
    ext: KvCacheExtParam,
  ): Promise<void> {
    this.#noteTransfer(src, dst, ext).details = { srcBatchIndex: src.batchIndex, dstBatchIndex: batchIndex, size };
    return super.pullKvCache(src, dst, batchIndex, size, ext);
  }

  override pullKvBlocks(
    src: CacheIndex,
    dst: Cache,
    srcBlocks: BigUint64Array,
    dstBlocks: BigUint64Array,
    ext: KvCacheExtParam,
  ): Promise<void> {
    const call = this.#noteTransfer(src, dst, ext);
    call.srcBlocks = srcBlocks;
    call.dstBlocks = dstBlocks;
    return super.pullKvBlocks(src, dst, srcBlocks, dstBlocks, ext);
  }

  override pushKvCache(
    src: Cache,
    dst: CacheIndex,
    srcBatchIndex: number,
    size: bigint,
    ext: KvCacheExtParam,
    progress?: PushProgress,
  ): Promise<void> {
    this.#noteTransfer(dst, src, ext).details = { srcBatchIndex, dstBatchIndex: dst.batchIndex, size };
    return super.pushKvCache(src, dst, srcBatchIndex, size, ext, progress);
  }

  override pushKvBlocks(
    src: Cache,
    dst: CacheIndex,
    srcBlocks: BigUint64Array,
    dstBlocks: BigUint64Array,
    ext: KvCacheExtParam,
    limits?: BlockLimits,
    progress?: PushProgress,
  ): Promise<void> {
    const call = this.#noteTransfer(dst, src, ext);
    call.srcBlocks = srcBlocks;
    call.dstBlocks = dstBlocks;
    return super.pushKvBlocks(src, dst, srcBlocks, dstBlocks, ext, limits, progress);
  }

  override malloc(byteLength: bigint, placement: number): Promise<bigint> {
    this.#note({ byteLength, placement });
    return super.malloc(byteLength, placement);
  }

  override free(address: bigint): Promise<void> {
    // Its memory went with the process.
    if (this.calls.isBuried) return this.turns.next();
    this.#note({ address });
    return super.free(address);
  }

  override write(address: bigint, data: Uint8Array): Promise<void> {
    this.#note({ address, byteLength: data.length });
    return super.write(address, data);
  }

  override read(address: bigint, byteLength: number): Promise<Uint8Array> {
    this.#note({ address, byteLength });
    return super.read(address, byteLength);
  }

  override copy(dst: bigint, src: bigint, byteLength: number): Promise<void> {
    this.#note({ dst, src, byteLength });
    return super.copy(dst, src, byteLength);
  }

  override copyRanges(dst: BigUint64Array, src: BigUint64Array, byteLengths: BigUint64Array): Promise<void> {
    const byteLength = Number(byteLengths.reduce((sum, each) => sum + each, 0n));
    this.#note({ dst: [...dst], src: [...src], byteLengths: [...byteLengths], byteLength });
    return super.copyRanges(dst, src, byteLengths);
  }

  override readRanges(addresses: BigUint64Array, byteLength: number): Promise<Uint8Array> {
    this.#note({ addresses: [...addresses], byteLength: addresses.length * byteLength });
    return super.readRanges(addresses, byteLength);
  }

  override writeRanges(addresses: BigUint64Array, byteLength: number, data: Uint8Array): Promise<void> {
    this.#note({ addresses: [...addresses], byteLength: data.length });
    return super.writeRanges(addresses, byteLength, data);
  }

  #note(details: Readonly<Record<string, unknown>>): NodeCall {
    const { next } = this.calls;
    next.details = details;
    return next;
  }

  #noteTransfer(remote: CacheIndex, local: Cache, ext: KvCacheExtParam): NodeCall {
    const { next } = this.calls;
    next.peer = remote.clusterId;
    next.cacheId = remote.cacheId;
    next.localCacheId = local.cacheId;
    next.ext = ext;
    if (!hasLayout(remote)) next.check = () => this.#rules.checkBareKey(remote);
    return next;
  }
}

/** What the package hands over is the key as it was checked, with the layout that it carries; C++ has no place for it. */
function hasLayout(key: CacheIndex & { readonly layout?: unknown }): boolean {
  return key.layout !== undefined;
}

function onlyOne(clusters: readonly ClusterInfo[]): bigint | undefined {
  return clusters.length === 1 ? clusters[0]?.remoteClusterId : undefined;
}

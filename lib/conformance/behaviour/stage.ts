import { DEFAULT_EXT_PARAM } from '../../backend/backend';
import type {
  Backend,
  BackendCacheDesc,
  BackendOptions,
  Cache,
  CacheIndex,
  ClusterInfo,
  IpInfo,
  KvCacheExtParam,
} from '../../backend/backend';
import { DataType } from '../../data-type';
import { Placement } from '../../placement';
import { LLMRole } from '../../role';
import { tensorSize } from '../../tensor-size';
import type { ScenarioBackends } from '../backends';
import { CacheMemory, initialBytes } from '../cache-memory';
import type { ClusterAnswer } from './answer';
import { clusterAnswerOf } from './answer';
import type { Contents } from './contents';
import { contentDifferences } from './contents';

export const HOST = '127.0.0.1';

/** What an instance that does not listen names as its own; nobody listens there. */
const LOCAL: IpInfo = Object.freeze({ ip: HOST, port: 26_999 });

const TIMEOUT_MS = 1000;

/** The cache of most recordings: 4 tensors of 4 rows of 64 bytes. */
export const DESC: BackendCacheDesc = Object.freeze({
  numTensors: 4,
  dataType: DataType.DT_INT32,
  shape: Object.freeze([4n, 16n]),
  placement: Placement.DEVICE,
});
export const ROWS = 4;
export const ROW_BYTES = 64;

/** One tensor of so many blocks, of four bytes each. */
export function blocksDesc(blocks: number): BackendCacheDesc {
  return { ...DESC, numTensors: 1, shape: [BigInt(blocks), 1n] };
}

/** Taken at once, because only then they differ. */
const MOST_PORTS = 4;

/** The nodes of one test. */
export class Stage {
  readonly #backends: ScenarioBackends;
  readonly #nodes: StageNode[] = [];
  #ports: Promise<readonly number[]> | undefined;
  #portsTaken = 0;

  constructor(backends: ScenarioBackends) {
    this.#backends = backends;
  }

  /** An instance that is not initialised yet. */
  async node(role: LLMRole, { listens = true }: { readonly listens?: boolean } = {}): Promise<StageNode> {
    const device = this.#nodes.length;
    const clusterId = BigInt(device + 1);
    const port = listens ? await this.port() : undefined;
    const node = new StageNode(this.#backends.createBackend(clusterId, role), clusterId, role, device, port);
    this.#nodes.push(node);
    return node;
  }

  async initialised(role: LLMRole, options?: { readonly listens?: boolean }): Promise<StageNode> {
    const node = await this.node(role, options);
    await node.initialize();
    return node;
  }

  /** A prompt that listens and a decoder that need not, initialised. */
  async pair(): Promise<{ prompt: StageNode; decoder: StageNode }> {
    const prompt = await this.initialised(LLMRole.PROMPT);
    return { prompt, decoder: await this.initialised(LLMRole.DECODER, { listens: false }) };
  }

  /** A pair with a cache each, filled with different bytes, linked by the decoder. */
  async linkedPair(desc: BackendCacheDesc = DESC) {
    const { prompt, decoder } = await this.pair();
    const source = await prompt.register(desc, 7);
    const target = await decoder.register(desc, 90);
    await decoder.link(prompt);
    return { prompt, decoder, source, target };
  }

  /** A port that nobody listens on. */
  async port(): Promise<number> {
    this.#ports ??= this.#backends.freePorts(MOST_PORTS);
    const port = (await this.#ports)[this.#portsTaken++];
    if (port === undefined) throw new RangeError(`a test needs port ${this.#portsTaken}, freePorts gave fewer`);
    return port;
  }

  /**
   * Ends all instances, and frees what they were given.
   * @throws the first failure, when everything has been tried
   */
  async clear(): Promise<void> {
    const failures: unknown[] = [];
    const ends = this.#nodes.map(
      ({ backend }) =>
        () =>
          backend.finalize(),
    );
    for (const clean of [...ends, ...this.#nodes.map((node) => () => node.free())]) {
      try {
        await clean();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}

/** An instance below the public classes. */
export class StageNode {
  readonly #memories: CacheMemory[] = [];

  constructor(
    readonly backend: Backend,
    readonly clusterId: bigint,
    readonly role: LLMRole,
    private readonly device: number,
    private readonly port: number | undefined,
  ) {}

  get options(): BackendOptions {
    const device = { 'llm.DeviceId': String(this.device) };
    return this.port === undefined ? device : { ...device, 'llm.ListenIpInfo': `${HOST}:${this.port}` };
  }

  /** As other instances name it. */
  get cluster(): ClusterInfo {
    const remoteIpInfos = this.port === undefined ? [] : [{ ip: HOST, port: this.port }];
    return { remoteClusterId: this.clusterId, remoteRoleType: this.role, remoteIpInfos, localIpInfos: [LOCAL] };
  }

  async initialize(more: BackendOptions = {}): Promise<void> {
    await this.backend.initialize({ ...this.options, ...more });
  }

  /** A cache in fresh memory: byte `k` of tensor `t` is `(base + 131*t + k) mod 251`. */
  async register(desc: BackendCacheDesc, base: number): Promise<StageCache> {
    const memory = await this.allocate(desc, base);
    const cacheId = await this.backend.registerKvCache(desc, memory.addresses);
    return new StageCache({ cacheId, tensorAddrs: memory.addresses, desc }, this, memory, base);
  }

  /** Memory for a cache, freed at the end. */
  async allocate(desc: BackendCacheDesc, base = 0): Promise<CacheMemory> {
    const { numTensors: count, placement } = desc;
    const memory = await CacheMemory.allocate(this.backend, {
      count,
      tensorBytes: BigInt(bytesOf(desc)),
      placement,
      base,
      fails: false,
    });
    this.#memories.push(memory);
    return memory;
  }

  async link(...peers: readonly StageNode[]): Promise<void> {
    await this.backend.linkLlmClusters(clustersOf(peers), TIMEOUT_MS);
  }

  async unlink(peer: StageNode, { force = false }: { readonly force?: boolean } = {}): Promise<void> {
    await this.backend.unlinkLlmClusters([peer.cluster], TIMEOUT_MS, force);
  }

  linkAnswer(...clusters: readonly ClusterInfo[]): Promise<ClusterAnswer> {
    return clusterAnswerOf(() => this.backend.linkLlmClusters(clusters, TIMEOUT_MS));
  }

  unlinkAnswer(force: boolean, ...clusters: readonly ClusterInfo[]): Promise<ClusterAnswer> {
    return clusterAnswerOf(() => this.backend.unlinkLlmClusters(clusters, TIMEOUT_MS, force));
  }

  /** Row to row. */
  pull(src: StageCache, dst: StageCache, ext = DEFAULT_EXT_PARAM, srcRow = 0, dstRow = 0, size = -1n): Promise<void> {
    return this.backend.pullKvCache(src.at(srcRow), dst.local, dstRow, size, ext);
  }

  /** Row to row. */
  push(src: StageCache, dst: StageCache, ext = DEFAULT_EXT_PARAM, srcRow = 0, dstRow = 0): Promise<void> {
    return this.backend.pushKvCache(src.local, dst.at(dstRow), srcRow, -1n, ext);
  }

  pullBlocks(
    src: StageCache,
    dst: StageCache,
    srcBlocks: BlockNumbers,
    dstBlocks: BlockNumbers,
    ext = DEFAULT_EXT_PARAM,
  ) {
    const lists = [blockList(srcBlocks), blockList(dstBlocks)] as const;
    return this.backend.pullKvBlocks(src.at(), dst.local, ...lists, ext);
  }

  pushBlocks(
    src: StageCache,
    dst: StageCache,
    srcBlocks: BlockNumbers,
    dstBlocks: BlockNumbers,
    ext = DEFAULT_EXT_PARAM,
  ) {
    const lists = [blockList(srcBlocks), blockList(dstBlocks)] as const;
    return this.backend.pushKvBlocks(src.local, dst.at(), ...lists, ext);
  }

  async free(): Promise<void> {
    for (const memory of this.#memories.splice(0)) await memory.free();
  }
}

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
    const bytes = bytesOf(local.desc);
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

export type BlockNumbers = readonly number[];

function blockList(blocks: BlockNumbers): BigUint64Array {
  return BigUint64Array.from(blocks, BigInt);
}

export function clustersOf(nodes: readonly StageNode[]): ClusterInfo[] {
  return nodes.map(({ cluster }) => cluster);
}

/** Of one tensor. */
function bytesOf({ shape, dataType }: BackendCacheDesc): number {
  const size = tensorSize(shape, dataType);
  if ('problem' in size) throw new RangeError(size.problem);
  return Number(size.byteLength);
}

/** Layers from and to, with so many tensors each. */
export function layers(
  src: readonly [first: number, last: number],
  dst: readonly [first: number, last: number],
  tensorNumPerLayer = 2,
): KvCacheExtParam {
  return { srcLayerRange: src, dstLayerRange: dst, tensorNumPerLayer };
}

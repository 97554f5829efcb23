import { DataType, LLMDataDist, LLMException, LLMRole, Placement } from '../../lib';
import type { CacheDesc, CacheKeyByIdAndIndex, KvCache, LLMClusterInfo, LocalCache, MemoryRegion } from '../../lib';
import { Fabric, MockBackend } from '../../lib/testing';
import type { BackendFactory } from '../../lib';
import type { Call, ClustersCall, Flaw, LocalRef, Outcome, Port, Shape, Transfer } from './call';
import type { Run } from './step';

type CallOf<Op extends Call['op']> = Extract<Call, { op: Op }>;

interface Slot {
  readonly cache: KvCache;
  readonly regions: readonly MemoryRegion[];
}

/** The instances of a run, on a network of their own. */
export class System {
  readonly #engine: Run['engine'];
  readonly #dists: readonly LLMDataDist[];
  readonly #slots: (Slot | undefined)[][];

  /** @param backend makes what does the work of each node */
  constructor({ engine, guards, nodes }: Omit<Run, 'steps'>, backend: BackendFactory) {
    this.#engine = engine;
    this.#dists = Array.from({ length: nodes }, (_, i) => new LLMDataDist(LLMRole.MIX, i + 1, { backend, guards }));
    this.#slots = Array.from({ length: nodes }, () => []);
  }

  /** Makes a call, and tells what came of it in the words of the model. */
  async perform(call: Call): Promise<Outcome> {
    const dist = this.#dists[call.node];
    if (dist === undefined) throw new Error(`there is no node ${call.node}`);
    const { status, value, results } = await this.#outcome(() => this.#make(dist, call));
    switch (call.op) {
      case 'finalize':
        return { status, warnings: typeof value === 'number' ? value : 0 };
      case 'linkClusters':
      case 'unlinkClusters':
        return { status, results: results ?? codesOf(value) };
      case 'allocateCache':
      case 'registerCache':
        return status === 'LLM_SUCCESS' && typeof value === 'bigint' ? { status, cacheId: Number(value) } : { status };
      default:
        return { status };
    }
  }

  /** The bytes of the cache in a slot, tensor by tensor; its memory must be there. */
  async bytes(node: number, slot: number): Promise<number[][]> {
    const bytes: number[][] = [];
    for (const region of this.#slots[node]?.[slot]?.regions ?? []) bytes.push([...(await region.read())]);
    return bytes;
  }

  async end(): Promise<void> {
    for (const dist of this.#dists) await countWarnings(() => dist.finalize());
  }

  async #outcome(make: () => Promise<unknown>): Promise<{ status: string; value?: unknown; results?: string[] }> {
    try {
      return { status: 'LLM_SUCCESS', value: await make() };
    } catch (error) {
      // Anything else is a difference of its own, and says which.
      if (!(error instanceof LLMException)) return { status: String(error) };
      const { code, results } = error;
      return results === undefined ? { status: code } : { status: code, results: results.map((each) => each.code) };
    }
  }

  #make(dist: LLMDataDist, call: Call): Promise<unknown> {
    const manager = dist.kvCacheManager;
    switch (call.op) {
      case 'init':
        return dist.init(this.#initOptions(call));
      case 'finalize':
        return countWarnings(() => dist.finalize());
      case 'switchRole':
        return dist.switchRole(call.role, listenOption(call.port));
      case 'linkClusters':
        return dist.linkClusters(clusterInfos(call), { timeout: call.timeout });
      case 'unlinkClusters':
        return dist.unlinkClusters(clusterInfos(call), { timeout: call.timeout, force: call.force });
      case 'allocateCache':
        return this.#keep(call, async () => {
          const cache = await manager.allocateCache(descOf(call.shape));
          const regions = cache.regions ?? [];
          await fill(regions, call.base);
          return { cache, regions };
        });
      case 'registerCache':
        return this.#register(dist, call);
      case 'unregisterCache':
        return manager.unregisterCache(this.#local(call.node, call.local));
      case 'deallocateCache':
        return manager.deallocateCache(this.#slot(call.node, call.slot).cache);
      case 'free':
        return this.#free(this.#slot(call.node, call.slot).regions);
      case 'write':
        return this.#write(call);
      default:
        return this.#transfer(dist, call);
    }
  }

  #initOptions({ device, port, waitTime }: CallOf<'init'>): Record<string, string> {
    const devices = { malformed: 'x', two: '0;1', missing: '5000' };
    const options: Record<string, string> = listenOption(port);
    if (device !== 'absent') options['llm.DeviceId'] = typeof device === 'number' ? String(device) : devices[device];
    if (waitTime !== 'default') options['llm.SyncKvCacheWaitTime'] = waitTime === 'zero' ? '0' : '1s';
    if (this.#engine !== 'hccl') options['llm.TransferBackend'] = 'hixl';
    return options;
  }

  async #keep({ node, slot }: { node: number; slot: number }, make: () => Promise<Slot>): Promise<bigint> {
    const made = await make();
    const slots = this.#slots[node];
    if (slots !== undefined) slots[slot] = made;
    return made.cache.cacheId;
  }

  async #register(dist: LLMDataDist, call: CallOf<'registerCache'>): Promise<bigint> {
    const { shape, base, flaw, memoryOf } = call;
    const manager = dist.kvCacheManager;
    if (flaw !== undefined) return (await manager.registerCache(...flawed(descOf(shape), flaw))).cacheId;
    return this.#keep(call, async () => {
      const desc = descOf(shape);
      const placement = desc.placement ?? Placement.DEVICE;
      const regions = memoryOf === undefined ? [] : [...this.#slot(call.node, memoryOf).regions];
      const wanted = memoryOf === undefined ? shape.tensors : 0;
      const size = Math.ceil((shape.rows * shape.columns) / (shape.halfBytes ? 2 : 1));
      for (let i = 0; i < wanted; i++) regions.push(await dist.allocateMemory(size, { placement }));
      if (memoryOf === undefined) await fill(regions, base);
      const addrs = regions.map(({ address }) => address);
      return { cache: await manager.registerCache(desc, addrs), regions };
    });
  }

  async #free(regions: readonly MemoryRegion[]): Promise<void> {
    for (const region of regions) await region.free();
  }

  async #write({ node, slot, tensor, offset, bytes }: CallOf<'write'>): Promise<void> {
    await this.#slot(node, slot).regions[tensor]?.write(Uint8Array.from(bytes), offset);
  }

  #transfer(dist: LLMDataDist, call: Transfer): Promise<void> {
    const { op, localRow, size, srcBlocks, dstBlocks, srcLayers, dstLayers, perLayer } = call;
    const manager = dist.kvCacheManager;
    const key = this.#key(call);
    const local = this.#local(call.node, call.local);
    const layers = { srcLayerRange: srcLayers, dstLayerRange: dstLayers, tensorNumPerLayer: perLayer };
    switch (op) {
      case 'pullCache':
        return manager.pullCache(key, local, localRow, { ...layers, size });
      case 'pullBlocks':
        return manager.pullBlocks(key, local, srcBlocks, dstBlocks, layers);
      case 'pushCache':
        return manager.pushCache(key, local, localRow, { ...layers, size });
      default:
        return manager.pushBlocks(key, local, srcBlocks, dstBlocks, layers);
    }
  }

  #key({ keyOf, peer, remoteId, remoteRow }: Transfer): CacheKeyByIdAndIndex {
    if (keyOf !== undefined) {
      // Without the life: the model has no rule stale-key.
      const { clusterId, cacheId, layout, fingerprint } = this.#slot(keyOf.node, keyOf.slot).cache.key();
      return {
        clusterId,
        cacheId,
        batchIndex: remoteRow,
        ...(layout && { layout }),
        ...(fingerprint && { fingerprint }),
      };
    }
    return { clusterId: peer, cacheId: remoteId, batchIndex: remoteRow };
  }

  #local(node: number, { slot, id, byHandle }: LocalRef): LocalCache {
    return byHandle ? this.#slot(node, slot).cache : id;
  }

  #slot(node: number, slot: number): Slot {
    const found = this.#slots[node]?.[slot];
    if (found === undefined) throw new Error(`node ${node + 1} has nothing in slot ${slot}`);
    return found;
  }
}

/** Makes mocks that see each other and nobody else. */
export function newMocks(): BackendFactory {
  const fabric = new Fabric();
  return (clusterId, role) => {
    const backend = new MockBackend(clusterId, role, { fabric });
    // The model is of what the package does where no backend says that peers are gone.
    Object.defineProperty(backend, 'unregisterUnlinked', { value: undefined });
    return backend;
  };
}

/** How many warnings of the package `work` gives; they are expected, and not printed. */
async function countWarnings(work: () => Promise<void>): Promise<number> {
  const original = Object.getOwnPropertyDescriptor(process, 'emitWarning');
  let count = 0;
  process.emitWarning = () => {
    count += 1;
  };
  try {
    await work();
    return count;
  } finally {
    if (original !== undefined) Object.defineProperty(process, 'emitWarning', original);
  }
}

async function fill(regions: readonly MemoryRegion[], base: number): Promise<void> {
  for (const [t, region] of regions.entries()) {
    await region.write(Uint8Array.from({ length: Number(region.byteLength) }, (_, k) => (base + 131 * t + k) % 251));
  }
}

function codesOf(value: unknown): string[] {
  return Array.isArray(value) ? value.map(({ code }: { code: string }) => code) : [];
}

function listenOption(port: Port): Record<string, string> {
  if (port === 'none') return {};
  return { 'llm.ListenIpInfo': port === 'malformed' ? '127.0.0.1' : `127.0.0.1:${port}` };
}

function clusterInfos({ clusters, locals, badAddress }: ClustersCall): LLMClusterInfo[] {
  const localIpInfos = Array.from({ length: locals }, () => ({ ip: '127.0.0.1' }));
  return clusters.map(({ id, ports }, i) => {
    const remoteIpInfos = ports.map((port) => ({ ip: '127.0.0.1', port }));
    if (badAddress && i === 0) remoteIpInfos.push({ ip: 'nowhere', port: 1 });
    return { remoteClusterId: id, remoteIpInfos, localIpInfos };
  });
}

function descOf({ tensors, rows, columns, halfBytes, host }: Shape): CacheDesc {
  return {
    numTensors: tensors,
    dataType: halfBytes ? DataType.DT_INT4 : DataType.DT_INT8,
    shape: [rows, columns],
    placement: host ? Placement.HOST : Placement.DEVICE,
  };
}

/** A registration with something wrong in it: nothing looks at the addresses then. */
function flawed(desc: CacheDesc, flaw: Flaw): [CacheDesc, bigint[]] {
  const numTensors = 3;
  const addrs = [0x1000n, 0x2000n, 0x3000n];
  switch (flaw) {
    case 'no addresses':
      return [{ ...desc, numTensors: 0 }, []];
    case 'an address too few':
      return [{ ...desc, numTensors }, addrs.slice(1)];
    case 'address 0':
      return [{ ...desc, numTensors }, [0x1000n, 0n, 0x3000n]];
    case 'no dimensions':
      return [{ ...desc, numTensors, shape: [] }, addrs];
    case 'dimension 0':
      return [{ ...desc, numTensors, shape: [4, 0] }, addrs];
    default:
      return [{ ...desc, numTensors, dataType: DataType.DT_UNDEFINED }, addrs];
  }
}

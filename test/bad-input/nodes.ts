import { DataType, LLMRole, Placement } from '../../lib';
import type { Backend, KvCache, LLMDataDistOptions, MemoryRegion } from '../../lib';
import { Fabric } from '../../lib/testing';
import type { MockBackendOptions } from '../../lib/testing';
import {
  bytesOf,
  DECODER_ID,
  DECODER_PORT,
  DESC,
  fill,
  node,
  PROMPT_CLUSTER,
  PROMPT_ID,
  PROMPT_PORT,
} from '../fixtures/cluster';
import type { Node } from '../fixtures/cluster';

/** A prompt and a decoder that are linked, with everything that a method of the public API can be called on. */
export interface Nodes {
  readonly fabric: Fabric;
  readonly prompt: Node;
  readonly decoder: Node;
  readonly promptCache: KvCache;
  /** The decoder's caches: two in device memory, one in host memory. */
  readonly cache: KvCache;
  readonly other: KvCache;
  readonly hostCache: KvCache;
  /** Memory that no cache is in. */
  readonly region: MemoryRegion;
  readonly promptRegion: MemoryRegion;
  /** What the two backends were called for since {@link forget}. */
  readonly calls: string[];
  /** Addresses that the decoder's backend has allocated since, and not freed. */
  readonly allocated: ReadonlySet<bigint>;
}

export const REGION_BYTES = 1024;

export async function linkedNodes(options: LLMDataDistOptions = {}, mock: MockBackendOptions = {}): Promise<Nodes> {
  const fabric = new Fabric();
  const prompt = node(LLMRole.PROMPT, PROMPT_ID, { ...mock, fabric }, options);
  const decoder = node(LLMRole.DECODER, DECODER_ID, { ...mock, fabric }, options);
  await prompt.dist.init({ deviceId: 0, listenIpInfo: `127.0.0.1:${PROMPT_PORT}` });
  await decoder.dist.init({ deviceId: 1, listenIpInfo: `127.0.0.1:${DECODER_PORT}` });
  const promptCache = await prompt.dist.kvCacheManager.allocateCache(DESC);
  const { kvCacheManager } = decoder.dist;
  const cache = await kvCacheManager.allocateCache(DESC);
  const other = await kvCacheManager.allocateCache(DESC);
  const hostCache = await kvCacheManager.allocateCache({ ...DESC, placement: Placement.HOST });
  const region = await decoder.dist.allocateMemory(REGION_BYTES);
  const promptRegion = await prompt.dist.allocateMemory(REGION_BYTES);
  for (const [i, filled] of [promptCache, cache, other, hostCache].entries()) await fill(filled, 17 * i);
  await region.write(Uint8Array.from({ length: REGION_BYTES }, (_, i) => i % 249));
  await decoder.dist.linkClusters([PROMPT_CLUSTER]);
  const allocated = watchAllocations(decoder.backend);
  const calls: string[] = [];
  record(prompt.backend, 'prompt', calls);
  record(decoder.backend, 'decoder', calls);
  return { fabric, prompt, decoder, promptCache, cache, other, hostCache, region, promptRegion, calls, allocated };
}

function watchAllocations(backend: Backend): ReadonlySet<bigint> {
  const allocated = new Set<bigint>();
  const malloc = backend.malloc.bind(backend);
  const free = backend.free.bind(backend);
  backend.malloc = async (...args) => {
    const address = await malloc(...args);
    allocated.add(address);
    return address;
  };
  backend.free = async (address) => {
    await free(address);
    allocated.delete(address);
  };
  return allocated;
}

/** Notes every call of the seam, under the name of the backend if it has one. */
export function record(backend: Backend, name: string, calls: string[]): void {
  for (const method of Object.getOwnPropertyNames(Object.getPrototypeOf(backend))) {
    const original: unknown = Reflect.get(backend, method);
    if (typeof original !== 'function' || method === 'constructor') continue;
    Object.defineProperty(backend, method, {
      configurable: true,
      writable: true,
      value: (...args: unknown[]): unknown => {
        calls.push(name === '' ? method : `${name}.${method}`);
        return Reflect.apply(original, backend, args);
      },
    });
  }
}

/** All that can be seen of the two nodes from outside. Ids count on: looking takes one of each. */
export interface Snapshot {
  readonly state: unknown;
  readonly nextIds: readonly [prompt: bigint, decoder: bigint];
}

export async function snapshot(nodes: Nodes): Promise<Snapshot> {
  const { prompt, decoder, promptCache, cache, other, hostCache, region, promptRegion, calls, allocated } = nodes;
  const memory = [promptCache, cache, other, hostCache].flatMap(({ regions = [] }) => regions).concat(region);
  const bytes = await Promise.all(memory.map((each) => each.read()));
  const state = {
    bytes: bytes.map((each) => Buffer.from(each).toString('latin1')),
    nodes: [prompt, decoder].map(({ dist }) => [dist.role, dist.clusterId, dist.isInitialized, dist.backendName]),
    handles: [promptCache, cache, other, hostCache].map(({ cacheId, desc, tensorAddrs, regions }) => ({
      cacheId,
      desc,
      tensorAddrs,
      regions: regions?.map(({ address, byteLength, placement }) => [address, byteLength, placement]),
    })),
    links: await linked(nodes),
    allocated: [...allocated],
  };
  // Looking at the link has moved bytes.
  for (const [i, each] of memory.entries()) await each.write(bytes[i]!);
  const nextIds = [await nextId(prompt, promptRegion), await nextId(decoder, region)] as const;
  calls.length = 0;
  return { state, nextIds };
}

/** The link carries bytes, in both directions. */
async function linked({ prompt, decoder, promptCache, cache }: Nodes): Promise<boolean> {
  await decoder.dist.kvCacheManager.pullBlocks(promptCache.key(), cache, [0, 3], [1, 2]);
  const [here, there] = [await bytesOf(cache), await bytesOf(promptCache)];
  await prompt.dist.kvCacheManager.pushBlocks(cache.key(), promptCache, [0], [0]);
  return here.subarray(64, 128).equals(there.subarray(0, 64));
}

/**
 * The id of a cache that takes a whole region, which a refused registration must not have kept. Asked of the backend,
 * because the package would keep the memory taken as long as links may hold it.
 */
async function nextId({ backend }: Node, { address, byteLength }: MemoryRegion): Promise<bigint> {
  const desc = { numTensors: 1, dataType: DataType.DT_INT8, shape: [byteLength], placement: Placement.DEVICE };
  const cacheId = await backend.registerKvCache(desc, BigUint64Array.of(address));
  await backend.unregisterKvCache(cacheId);
  return cacheId;
}

/** Expects that two looks saw the same, and that nobody but the looks took ids. */
export function expectUnchanged(before: Snapshot, after: Snapshot, idsTaken = 0): void {
  expect(after.state).toEqual(before.state);
  const [prompt, decoder] = before.nextIds;
  expect(after.nextIds).toEqual([prompt + 1n, decoder + 1n + BigInt(idsTaken)]);
}

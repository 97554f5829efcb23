import type { Call, Cluster, Flaw, LocalRef, Outcome, Shape, Transfer } from './call';
import { describedBy, isRefused, isShapeRefused } from './caution';
import { Holdings } from './holdings';
import { linkOne, unlinkOne } from './link-model';
import { pull, push } from './transfer-model';
import type { Source } from './transfer-model';
import type { CacheRecord, Life, NodeRecord, Pin, Region, Slot, Status, World } from './world';

type CallOf<Op extends Call['op']> = Extract<Call, { op: Op }>;

/**
 * What the specification says that comes of a call. It changes the world accordingly.
 *
 * Written from the text, and sharing nothing with the mock: where they differ, one of them has misread it.
 */
export function predict(world: World, call: Call): Outcome {
  const node = world.nodes[call.node];
  if (node === undefined) throw new Error(`there is no node ${call.node}`);
  world.calls += 1;
  switch (call.op) {
    case 'init':
      return { status: init(world, node, call) };
    case 'finalize':
      return { status: 'LLM_SUCCESS', warnings: finalize(world, node) };
    case 'switchRole':
      return { status: switchRole(world, node, call) };
    case 'linkClusters':
    case 'unlinkClusters':
      return onClusters(world, node, call);
    case 'allocateCache':
      return allocate(world, node, call);
    case 'registerCache':
      return register(world, node, call);
    case 'unregisterCache':
      return { status: unregisterCall(world, node, call.local) };
    case 'deallocateCache':
      return { status: deallocate(world, node, call.slot) };
    case 'free':
      return { status: free(world, node, slotOf(node, call.slot)) };
    case 'write':
      return { status: write(node, call) };
    default:
      return { status: transfer(world, node, call) };
  }
}

/** Specification 4.1, and the option texts that a guard refuses first. */
function init(world: World, node: NodeRecord, { device, port, waitTime }: CallOf<'init'>): Status {
  if (node.life !== undefined) return 'LLM_SUCCESS';
  if (world.guards && waitTime !== 'default') return 'LLM_PARAM_INVALID';
  if (device === 'absent' || device === 'malformed' || port === 'malformed') return 'LLM_PARAM_INVALID';
  if (node.broken) return 'LLM_PARAM_INVALID';
  // The port that a failed init keeps is free again when the next one gets this far; those of hixl stay.
  if (world.engine === 'hccl' && node.kept !== undefined) {
    world.listeners.delete(node.kept);
    node.kept = undefined;
  }
  if (device === 'two') return 'LLM_PARAM_INVALID';
  if (device === 'missing') return 'LLM_FAILED';
  if (port === 'none' && world.engine !== 'hccl') return 'LLM_PARAM_INVALID';
  if (port !== 'none' && world.listeners.has(port)) return 'LLM_FAILED';
  if (waitTime === 'malformed') {
    if (port !== 'none') {
      world.listeners.set(port, undefined);
      node.kept = port;
      node.broken = world.engine === 'comm';
    }
    return 'LLM_PARAM_INVALID';
  }
  const life: Life = {
    node,
    device,
    over: false,
    port: undefined,
    described: port !== 'none',
    links: new Map(),
    connected: new Set(),
    caches: new Map(),
    pins: new Set(),
    stuck: new Set(),
    lastId: 0,
    published: false,
    held: new Holdings(world.engine !== 'hccl', port === 'none' ? undefined : port),
  };
  listen(world, life, port);
  node.life = life;
  node.regions = [];
  return 'LLM_SUCCESS';
}

function listen(world: World, life: Life, port: number | 'none'): void {
  if (life.port !== undefined) world.listeners.delete(life.port);
  life.port = port === 'none' ? undefined : port;
  if (port !== 'none') world.listeners.set(port, life);
}

/** Specification 3.1: this side forgets everything, the peers are not told. @returns how many warnings the package gives */
function finalize(world: World, node: NodeRecord): number {
  const { life } = node;
  if (life === undefined) return 0;
  life.over = true;
  life.links.clear();
  for (const pin of life.pins) pin.live = false;
  listen(world, life, 'none');
  const left = node.regions.some((region) => !region.freed);
  for (const region of node.regions) giveBack(region);
  node.life = undefined;
  return left ? 1 : 0;
}

/** Specification 3.3 and 4.3. */
function switchRole(world: World, { life }: NodeRecord, { role, port }: CallOf<'switchRole'>): Status {
  if (life === undefined) return 'LLM_FAILED';
  if (![1, 2, 3].includes(role) || port === 'malformed') return 'LLM_PARAM_INVALID';
  if (world.engine !== 'hccl') return port === 'none' || port === life.port ? 'LLM_SUCCESS' : 'LLM_FEATURE_NOT_ENABLED';
  if (life.links.size > 0) return 'LLM_EXIST_LINK';
  if (port !== 'none' && port !== life.port && world.listeners.has(port)) {
    // The old listener is gone by then. The package makes it listen there again, unless it runs without guards.
    if (!world.guards) listen(world, life, 'none');
    return 'LLM_FAILED';
  }
  listen(world, life, port);
  life.held.switched(life.port);
  releaseHeld(world, life);
  return 'LLM_SUCCESS';
}

/** Specification 3.6, 4.4 and 4.5: what refuses the whole call, then cluster by cluster. */
function onClusters(
  world: World,
  { life }: NodeRecord,
  call: CallOf<'linkClusters'> | CallOf<'unlinkClusters'>,
): Outcome {
  const { clusters } = call;
  if (life === undefined) return { status: 'LLM_FAILED', results: [] };
  const links = call.op === 'linkClusters';
  if (links && world.guards && namesOneTwice(clusters)) return { status: 'LLM_PARAM_INVALID', results: [] };
  const ids = clusters.map(({ id }) => id);
  if (call.timeout <= 0 || call.badAddress || clusters.length === 0) {
    if (links)
      life.held.linked(
        ids,
        ids.map(() => 'LLM_PARAM_INVALID'),
      );
    else releaseHeld(world, life);
    return { status: 'LLM_PARAM_INVALID', results: [] };
  }
  const results = clusters.map((cluster) =>
    links ? linkOne(world, life, cluster, call.locals) : unlinkOne(world, life, cluster, call.force),
  );
  if (links) life.held.linked(ids, results);
  else {
    life.held.unlinked(ids, results);
    releaseHeld(world, life);
  }
  return { status: results.findLast((status) => status !== 'LLM_SUCCESS') ?? 'LLM_SUCCESS', results };
}

function namesOneTwice(clusters: readonly Cluster[]): boolean {
  const ports = clusters.flatMap(({ ports: own }) => [...new Set(own)]);
  return new Set(ports).size < ports.length || new Set(clusters.map(({ id }) => id)).size < clusters.length;
}

/** The package makes it of memory and a registration; what it refuses itself takes no id. */
function allocate(world: World, node: NodeRecord, call: CallOf<'allocateCache'>): Outcome {
  const { slot, shape } = call;
  if (node.life === undefined) return { status: 'LLM_FAILED' };
  if (shape.tensors === 0 || (world.guards && isShapeRefused(shape))) return { status: 'LLM_PARAM_INVALID' };
  return addCache(node, node.life, slot, shape, newRegions(node, call), true);
}

/** Specification 4.7. */
function register(world: World, node: NodeRecord, call: CallOf<'registerCache'>): Outcome {
  const { slot, shape, memoryOf, flaw } = call;
  const { life } = node;
  if (life === undefined) return { status: 'LLM_FAILED' };
  if (flaw !== undefined) {
    if (TAKES_AN_ID.has(flaw)) life.lastId += 1;
    return { status: 'LLM_PARAM_INVALID' };
  }
  const other = memoryOf === undefined ? undefined : slotOf(node, memoryOf);
  if (other === undefined) {
    const regions = newRegions(node, call);
    if (shape.tensors === 0 || (world.guards && isShapeRefused(shape))) return { status: 'LLM_PARAM_INVALID' };
    return addCache(node, life, slot, shape, regions, false);
  }
  if (world.guards && other.regions.some((region) => isTaken(life, region))) return { status: 'LLM_PARAM_INVALID' };
  return addCache(node, life, slot, shape, other.regions, false);
}

const TAKES_AN_ID: ReadonlySet<Flaw> = new Set(['dimension 0', 'no type']);

function newRegions(node: NodeRecord, { shape, base }: Pick<CallOf<'allocateCache'>, 'shape' | 'base'>): Region[] {
  const regions = Array.from({ length: shape.tensors }, (_, t) => ({
    bytes: Array.from({ length: bytesOf(shape) }, (_, k) => (base + 131 * t + k) % 251),
    freed: false,
    gone: false,
    pin: undefined,
  }));
  node.regions.push(...regions);
  return regions;
}

function bytesOf({ rows, columns, halfBytes }: Shape): number {
  return halfBytes ? Math.ceil((rows * columns) / 2) : rows * columns;
}

/** Nothing that a guard lets through: freed, registered, or refused by the transport before. */
function isTaken(life: Life, region: Region): boolean {
  return life.stuck.has(region) || region.freed || isPinned(region);
}

function isPinned({ pin }: Region): boolean {
  return pin?.live === true;
}

function addCache(
  node: NodeRecord,
  life: Life,
  slot: number,
  shape: Shape,
  regions: readonly Region[],
  allocated: boolean,
): Outcome {
  life.lastId += 1;
  const owned: Pin[] = [];
  const tensors: { region: Region; pin: Pin }[] = [];
  for (const region of regions) {
    // Memory that is not the instance's any more: what came before it stays registered, and goes with no cache.
    if (region.gone) {
      for (const each of regions) life.stuck.add(each);
      return { status: 'LLM_FAILED' };
    }
    if (region.pin?.live !== true) {
      region.pin = { live: true };
      owned.push(region.pin);
      life.pins.add(region.pin);
    }
    tensors.push({ region, pin: region.pin });
  }
  const { rows, host } = shape;
  const tensorBytes = bytesOf(shape);
  const cache: CacheRecord = {
    id: life.lastId,
    tensors,
    owned,
    rows,
    tensorBytes,
    stride: Math.floor(tensorBytes / rows),
    host,
    meaning: `${shape.columns} elements of ${shape.halfBytes ? 'half a byte' : 'a byte'}`,
  };
  life.caches.set(cache.id, cache);
  life.published = true;
  life.held.registered(cache.id);
  node.slots[slot] = { id: cache.id, life, cache, shape, regions, allocated };
  return { status: 'LLM_SUCCESS', cacheId: cache.id };
}

/** A handle of an earlier life: refused while the node is alive; before that there is one answer to everything. */
function isForeign(node: NodeRecord, ref: LocalRef): boolean {
  return ref.byHandle && node.life !== undefined && slotOf(node, ref.slot)?.life !== node.life;
}

function unregisterCall(world: World, node: NodeRecord, ref: LocalRef): Status {
  const { life } = node;
  if (world.guards && isForeign(node, ref)) return 'LLM_PARAM_INVALID';
  if (life === undefined) return 'LLM_FAILED';
  return unregister(world, life, ref.id);
}

function unregister(world: World, life: Life, id: number): Status {
  const known = life.caches.has(id) && !life.held.isHeld(id);
  if (!known || (world.guards && life.held.withdraw(id))) return 'LLM_SUCCESS';
  forget(life, id);
  return 'LLM_SUCCESS';
}

/** Specification 3.8: the memory that the cache brought goes with it. */
function forget(life: Life, id: number): void {
  for (const pin of life.caches.get(id)?.owned ?? []) {
    pin.live = false;
    life.pins.delete(pin);
  }
  life.caches.delete(id);
}

/** What no link can hold any more is unregistered in the library, and memory that was freed meanwhile is given back. */
function releaseHeld(world: World, life: Life): void {
  if (!world.guards) return;
  for (const id of life.held.released()) forget(life, id);
  giveBackFreed(life);
}

function giveBackFreed({ node }: Life): void {
  for (const region of node.regions) if (region.freed && !isPinned(region)) giveBack(region);
}

function giveBack(region: Region): void {
  region.freed = true;
  region.gone = true;
}

function deallocate(world: World, node: NodeRecord, slot: number): Status {
  const { life } = node;
  const cache = slotOf(node, slot);
  if (life === undefined) return 'LLM_FAILED';
  if (cache?.life !== life || !cache.allocated) return 'LLM_PARAM_INVALID';
  if (!life.caches.has(cache.id) || life.held.isHeld(cache.id)) return 'LLM_PARAM_INVALID';
  unregister(world, life, cache.id);
  for (const region of cache.regions) region.freed = true;
  for (const region of cache.regions) if (!world.guards || !isPinned(region)) giveBack(region);
  return 'LLM_SUCCESS';
}

/** Frees the regions of a cache one by one, until one is refused. */
function free(world: World, { life }: NodeRecord, slot: Slot | undefined): Status {
  for (const region of slot?.regions ?? []) {
    if (region.freed) return 'LLM_PARAM_INVALID';
    if (life === undefined) return 'LLM_FAILED';
    if (world.guards && isOfLiveCache(life, region)) return 'LLM_PARAM_INVALID';
    region.freed = true;
    if (!world.guards || !isPinned(region)) giveBack(region);
  }
  return 'LLM_SUCCESS';
}

function isOfLiveCache(life: Life, region: Region): boolean {
  return [...life.caches.values()].some(
    ({ id, tensors }) => !life.held.isHeld(id) && tensors.some((tensor) => tensor.region === region),
  );
}

function write(node: NodeRecord, { slot, tensor, offset, bytes }: CallOf<'write'>): Status {
  const region = slotOf(node, slot)?.regions[tensor];
  if (region === undefined || region.freed) return 'LLM_PARAM_INVALID';
  region.bytes.splice(offset, bytes.length, ...bytes);
  return 'LLM_SUCCESS';
}

function transfer(world: World, node: NodeRecord, call: Transfer): Status {
  const { life } = node;
  if (world.guards && isForeign(node, call.local)) return 'LLM_PARAM_INVALID';
  if (life === undefined) return 'LLM_FAILED';
  const cache = life.caches.get(call.local.id);
  if (world.guards) {
    if (life.held.isHeld(call.local.id)) return 'LLM_KV_CACHE_NOT_EXIST';
    if (isRefused(call, cache, describedBy(world, call))) return 'LLM_PARAM_INVALID';
  }
  if (call.op === 'pullCache' || call.op === 'pullBlocks') return pull(life, call);
  return push(life, call, sourceOf(world, node, call, cache));
}

/** With guards a push is described by its registration; without them by what the caller hands over, which a bare id is not. */
function sourceOf(
  world: World,
  node: NodeRecord,
  { local, perLayer }: Transfer,
  cache: CacheRecord | undefined,
): Source {
  const described = world.guards ? cache : local.byHandle ? slotOf(node, local.slot)?.cache : undefined;
  if (described !== undefined) return { tensors: described.tensors.length, host: described.host };
  return { tensors: world.guards ? perLayer : 0, host: false };
}

function slotOf(node: NodeRecord, slot: number): Slot | undefined {
  return node.slots[slot];
}

import { cacheKeyFromJSON, describeStatus, LLMDataDist, LLMRole } from '../../lib';
import { DECODER_ID, DESC, PROMPT_CLUSTER, PROMPT_ID } from '../fixtures/cluster';
import type { Nodes } from './nodes';
import type { Kind } from './values';

/** A place of a call where a value goes: `clusters[0].remoteIpInfos[0].port`. */
export interface Place {
  readonly path: string;
  readonly kind: Kind;
  readonly optional: boolean;
  /** Puts a value there. */
  readonly put: (args: Args, value: unknown) => void;
  /** What holds the value and under which key, unless it is an argument itself or inside a Map. */
  readonly holder?: (args: Args) => readonly [object, string];
}

/** The arguments of a call by name, in order. */
export type Args = Record<string, unknown>;

/** A method of the public API with arguments that it accepts. */
export interface Method {
  readonly name: string;
  /** Throws instead of rejecting. */
  readonly sync: boolean;
  /** What has to be before the call can succeed with these arguments. */
  readonly prepare?: (nodes: Nodes) => Promise<unknown>;
  /** Fresh on each call, and nobody else's. */
  readonly args: (nodes: Nodes) => Args;
  readonly call: (nodes: Nodes, args: readonly unknown[]) => unknown;
  readonly places: readonly Place[];
}

/** `path` ends with `?` where undefined means the default. */
function place(pathText: string, kind: Kind): Place {
  const optional = pathText.endsWith('?');
  const path = optional ? pathText.slice(0, -1) : pathText;
  const keys = path.split(/[.[\]]+/).filter((key) => key !== '');
  const last = keys.pop() ?? '';
  const holder = (args: Args): [object, string] => {
    let target: object = args;
    for (const key of keys) target = Reflect.get(target, key) as object;
    return [target, last];
  };
  const put = (args: Args, value: unknown): void => {
    const [target, key] = holder(args);
    // Not by assignment: a key may be one that assigning treats specially.
    Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
  };
  return { path, kind, optional, put, ...(keys.length > 0 && { holder }) };
}

function descPlaces(name: string): Place[] {
  return [
    place(`${name}.numTensors`, 'uint32'),
    place(`${name}.dataType`, 'int32'),
    place(`${name}.shape`, 'array'),
    place(`${name}.shape[0]`, 'int64'),
    place(`${name}.shape[1]`, 'int64'),
    place(`${name}.placement?`, 'uint32'),
    place(`${name}.tensorsPerLayer?`, 'uint8'),
    place(`${name}.tag?`, 'tag'),
  ];
}

function keyPlaces(name: string): Place[] {
  return [
    place(name, 'object'),
    place(`${name}.clusterId`, 'uint64'),
    place(`${name}.cacheId`, 'int64'),
    place(`${name}.batchIndex?`, 'uint32'),
    place(`${name}.layout?`, 'object'),
    place(`${name}.layout.numTensors`, 'uint32'),
    place(`${name}.layout.rows`, 'uint32'),
    place(`${name}.layout.rowBytes`, 'uint64'),
    place(`${name}.life?`, 'life'),
    place(`${name}.version?`, 'byteCount'),
    place(`${name}.fingerprint?`, 'fingerprint'),
  ];
}

function transferPlaces(remote: string, local: string, ...rest: Place[]): Place[] {
  return [
    ...keyPlaces(remote),
    place(local, 'localCache'),
    ...rest,
    place('options?', 'optionalObject'),
    place('options.srcLayerRange?', 'layerRange'),
    place('options.srcLayerRange[0]', 'int32'),
    place('options.srcLayerRange[1]', 'int32'),
    place('options.dstLayerRange?', 'layerRange'),
    place('options.dstLayerRange[0]', 'int32'),
    place('options.dstLayerRange[1]', 'int32'),
    place('options.tensorNumPerLayer?', 'uint8'),
  ];
}

function clusterPlaces(): Place[] {
  return [
    place('clusters', 'array'),
    place('clusters[0]', 'object'),
    place('clusters[0].remoteClusterId', 'uint64'),
    place('clusters[0].remoteRole?', 'int32'),
    place('clusters[0].life?', 'life'),
    place('clusters[0].remoteIpInfos', 'array'),
    place('clusters[0].remoteIpInfos[0]', 'object'),
    place('clusters[0].remoteIpInfos[0].ip', 'string'),
    place('clusters[0].remoteIpInfos[0].port', 'uint16'),
    place('clusters[0].localIpInfos?', 'array'),
    place('clusters[0].localIpInfos[0]', 'object'),
    place('clusters[0].localIpInfos[0].ip', 'string'),
    place('clusters[0].localIpInfos[0].port?', 'uint16'),
    place('options?', 'optionalObject'),
    place('options.timeout?', 'int32'),
  ];
}

const layout = () => ({ numTensors: 4, rows: 4, rowBytes: 64n });
const remote = ({ promptCache }: Nodes) => ({
  clusterId: PROMPT_ID,
  cacheId: promptCache.cacheId,
  batchIndex: 0,
  layout: layout(),
});
const desc = () => ({ ...DESC, shape: [4, 16], placement: 1 });
const local = ({ cache }: Nodes) => cache;
const layers = () => ({ srcLayerRange: [0, 1], dstLayerRange: [0, 1], tensorNumPerLayer: 2 });
const prompt = () => ({
  ...PROMPT_CLUSTER,
  remoteIpInfos: PROMPT_CLUSTER.remoteIpInfos.map((info) => ({ ...info })),
  localIpInfos: [{ ip: '127.0.0.1', port: 0 }],
  remoteRole: 1,
});

const unlink = ({ decoder }: Nodes) => decoder.dist.unlinkClusters([PROMPT_CLUSTER]);

function apply(target: object, name: string, args: readonly unknown[]): unknown {
  return Reflect.apply(Reflect.get(target, name) as () => unknown, target, args);
}

type Definition = Pick<Method, 'args' | 'places' | 'prepare'>;
const on = (target: (nodes: Nodes) => object) => (name: string, definition: Definition) => ({
  name,
  sync: false,
  call: (nodes: Nodes, args: readonly unknown[]) => apply(target(nodes), name, args),
  ...definition,
});
const dist = on(({ decoder }) => decoder.dist);
const caches = on(({ decoder }) => decoder.dist.kvCacheManager);
const region = on((nodes) => nodes.region);
const handle = on((nodes) => nodes.cache);
const block = (path: string, put: Place['put'], kind: Kind = 'uint32'): Place => ({ path, kind, put, optional: false });

/** Every method of an instance, of its cache manager and of its memory that takes arguments. */
export const METHODS: readonly Method[] = [
  dist('init', {
    args: () => ({ options: { deviceId: 1, 'llm.ListenIpInfo': '127.0.0.1:26001' } }),
    places: [place('options', 'initOptions')],
  }),
  dist('switchRole', {
    prepare: unlink,
    args: () => ({ role: LLMRole.MIX, options: { listenIpInfo: '127.0.0.1:26001' } }),
    places: [place('role', 'int32'), place('options?', 'initOptions')],
  }),
  dist('linkClusters', {
    prepare: unlink,
    args: () => ({ clusters: [prompt()], options: { timeout: 1000 } }),
    places: clusterPlaces(),
  }),
  dist('unlinkClusters', {
    args: () => ({ clusters: [prompt()], options: { timeout: 1000, force: true } }),
    places: [...clusterPlaces(), place('options.force?', 'boolean')],
  }),
  dist('allocateMemory', {
    args: () => ({ byteLength: 64, options: { placement: 0 } }),
    places: [
      place('byteLength', 'uint64'),
      place('options?', 'optionalObject'),
      place('options.placement?', 'placement'),
    ],
  }),
  caches('registerCache', {
    args: (nodes) => ({
      desc: { ...desc(), numTensors: 2 },
      addrs: [nodes.region.address, nodes.region.address + 256n],
    }),
    places: [
      place('desc', 'object'),
      ...descPlaces('desc'),
      place('addrs', 'uint64List'),
      place('addrs[0]', 'uint64'),
      place('addrs[1]', 'uint64'),
    ],
  }),
  caches('unregisterCache', { args: (nodes) => ({ cache: local(nodes) }), places: [place('cache', 'localCache')] }),
  caches('allocateCache', { args: () => ({ desc: desc() }), places: [place('desc', 'object'), ...descPlaces('desc')] }),
  caches('deallocateCache', { args: (nodes) => ({ cache: nodes.cache }), places: [place('cache', 'handle')] }),
  caches('pullCache', {
    args: (nodes) => ({ src: remote(nodes), dst: local(nodes), batchIndex: 0, options: { ...layers(), size: 64n } }),
    places: transferPlaces('src', 'dst', place('batchIndex?', 'uint32'), place('options.size?', 'int64')),
  }),
  caches('pullBlocks', {
    args: (nodes) => ({
      src: remote(nodes),
      dst: local(nodes),
      srcBlocks: [0, 1n],
      dstBlocks: [2, 3],
      options: layers(),
    }),
    places: transferPlaces('src', 'dst', place('srcBlocks', 'uint64List'), place('dstBlocks', 'uint64List')),
  }),
  caches('pushCache', {
    args: (nodes) => ({ dst: remote(nodes), src: local(nodes), srcBatchIndex: 0, options: { ...layers(), size: -1 } }),
    places: transferPlaces('dst', 'src', place('srcBatchIndex?', 'uint32'), place('options.size?', 'int64')),
  }),
  caches('pushBlocks', {
    args: (nodes) => ({
      dst: remote(nodes),
      src: local(nodes),
      srcBlocks: [0, 1n],
      dstBlocks: [2, 3],
      options: layers(),
    }),
    places: transferPlaces('dst', 'src', place('srcBlocks', 'uint64List'), place('dstBlocks', 'uint64List')),
  }),
  caches('copyCache', {
    args: ({ cache, other }) => ({
      dst: cache,
      src: other,
      options: { dstBatchIndex: 1, srcBatchIndex: 2, offset: 16, size: 8 },
    }),
    places: [
      place('dst', 'handle'),
      place('src', 'handle'),
      place('options?', 'optionalObject'),
      place('options.dstBatchIndex?', 'uint32'),
      place('options.srcBatchIndex?', 'uint32'),
      place('options.offset?', 'uint64'),
      place('options.size?', 'int64'),
    ],
  }),
  caches('copyBlocks', {
    args: ({ cache }) => ({ cache, srcToDst: new Map([[0, [1, 2]]]) }),
    places: [
      place('cache', 'handle'),
      place('srcToDst', 'map'),
      block('srcToDst key', (args, value) => (args.srcToDst = new Map([[value, [1]]]))),
      block('srcToDst.get(0)', (args, value) => (args.srcToDst = new Map([[0, value]])), 'array'),
      block('srcToDst.get(0)[1]', (args, value) => (args.srcToDst = new Map([[0, [1, value]]]))),
    ],
  }),
  caches('swapBlocks', {
    args: ({ cache, hostCache }) => ({ src: cache, dst: hostCache, srcToDst: new Map([[0, 1]]) }),
    places: [
      place('src', 'handle'),
      place('dst', 'handle'),
      place('srcToDst', 'map'),
      block('srcToDst key', (args, value) => (args.srcToDst = new Map([[value, 1]]))),
      block('srcToDst.get(0)', (args, value) => (args.srcToDst = new Map([[0, value]]))),
    ],
  }),
  handle('readBlocks', { args: () => ({ blocks: [0, 1n] }), places: [place('blocks', 'uint64List')] }),
  handle('writeBlocks', {
    args: () => ({ blocks: [0, 1n], data: new Uint8Array(2 * 4 * 64) }),
    places: [place('blocks', 'uint64List'), place('data', 'bytes')],
  }),
  region('write', {
    args: () => ({ data: new Uint8Array(8), offset: 16 }),
    places: [place('data', 'bytes'), place('offset?', 'byteCount')],
  }),
  region('read', {
    args: () => ({ offset: 16, length: 8 }),
    places: [place('offset?', 'byteCount'), place('length?', 'byteCount')],
  }),
];

/** What throws instead of rejecting. */
export const FUNCTIONS: readonly Method[] = [
  {
    name: 'LLMDataDist',
    sync: true,
    args: ({ decoder }) => ({
      role: LLMRole.DECODER,
      clusterId: DECODER_ID,
      options: {
        backend: decoder.backend,
        guards: true,
        requireLayout: false,
        allowMultipleInstances: false,
        hangTimeout: 60_000,
      },
    }),
    call: (_, args) => Reflect.construct(LLMDataDist, args) as unknown,
    places: [
      place('role', 'int32'),
      place('clusterId', 'uint64'),
      place('options?', 'optionalObject'),
      place('options.backend?', 'backend'),
      place('options.guards?', 'boolean'),
      place('options.requireLayout?', 'boolean'),
      place('options.requireLife?', 'boolean'),
      place('options.allowMultipleInstances?', 'boolean'),
      place('options.hangTimeout?', 'int32'),
    ],
  },
  {
    name: 'KvCache.key',
    sync: true,
    args: () => ({ batchIndex: 3 }),
    call: ({ cache }, args) => apply(cache, 'key', args),
    places: [place('batchIndex?', 'uint32')],
  },
  {
    name: 'cacheKeyFromJSON',
    sync: true,
    args: () => ({
      json: { clusterId: '1', cacheId: '1', batchIndex: 0, layout: { numTensors: 4, rows: 4, rowBytes: '64' } },
    }),
    call: (_, args) => cacheKeyFromJSON(args[0]),
    places: [
      place('json', 'json'),
      place('json.clusterId', 'decimal'),
      place('json.cacheId', 'decimal'),
      place('json.batchIndex?', 'uint32'),
      place('json.layout?', 'object'),
      place('json.layout.numTensors', 'uint32'),
      place('json.layout.rows', 'uint32'),
      place('json.layout.rowBytes', 'decimal'),
      place('json.life?', 'life'),
      place('json.version?', 'byteCount'),
      place('json.fingerprint?', 'fingerprint'),
    ],
  },
  {
    name: 'describeStatus',
    sync: true,
    args: () => ({ code: 0, locale: 'en' }),
    call: (_, args) => Reflect.apply(describeStatus, undefined, args as [number, 'en']),
    places: [place('code', 'uint32'), place('locale?', 'locale')],
  },
];

import { DEFAULT_CACHE_DESC } from '../backend/backend';
import { MAX_LIST_LENGTH } from '../check';
import { DataType } from '../data-type';
import { Placement } from '../placement';
import { LLMRole } from '../role';
import { LLMStatusCode } from '../status';
import type { Reader } from './fields';
import {
  Fields,
  flag,
  int32,
  int64,
  integer,
  list,
  named,
  object,
  pair,
  record,
  ScenarioError,
  shown,
  text,
  uint32,
  uint64,
  uint8,
} from './fields';
import type { Address, CacheReference, ClusterFields, DescFields, Op, RawCall, RemoteCache, Step } from './step';
import { RAW_CALLS } from './step';

/** Of the C++ interface; this package has a longer one. */
const DEFAULT_TIMEOUT_MS = 1000;

/** The id of a default-constructed C++ `Cache`. */
const NO_CACHE = -1n;

export const readRole = named(LLMRole, int32);
const readDataType = named(DataType, int32);
const readPlacement = named(Placement, uint32);
const readOptions = record(text);
const readBlocks = list(uint64);
const readCount = integer(0, MAX_LIST_LENGTH);
const readBase = integer(0, Number.MAX_SAFE_INTEGER);

/** A public name, or `0x` and 8 digits. */
const readStatus: Reader<number> = (value, place) => {
  if (typeof value === 'string') {
    if (/^0x[\da-f]{8}$/i.test(value)) return Number(value);
    if (Object.hasOwn(LLMStatusCode, value)) return LLMStatusCode[value as keyof typeof LLMStatusCode];
  }
  throw new ScenarioError(place, `expected the name of a status or 0x and 8 digits, found ${shown(value)}`);
};

const readCrc: Reader<string> = (value, place) => {
  if (typeof value === 'string' && /^[\da-f]{8}$/.test(value)) return value;
  throw new ScenarioError(place, `expected 8 lower-case hexadecimal digits, found ${shown(value)}`);
};

const readPort: Reader<number | string> = (value, place) => {
  if (typeof value !== 'string') return integer(0, 0xffff)(value, place);
  if (/^(\$\{port:[^}]+\}|\d{1,5})$/.test(value)) return value;
  throw new ScenarioError(place, `expected a port or \${port:NAME}, found ${shown(value)}`);
};

const readAddress: Reader<Address> = (value, place) => {
  const [ip, port = 0, ...more] = list((element: unknown) => element)(value, place);
  if (ip === undefined || more.length > 0) throw new ScenarioError(place, 'expected a list of an address and a port');
  return [text(ip, `${place}[0]`), readPort(port, `${place}[1]`)];
};

const readCluster = object<ClusterFields>((fields) => ({
  remoteClusterId: fields.optional('remoteClusterId', uint64, 0n),
  remote: fields.optional('remote', list(readAddress), []),
  local: fields.optional('local', list(readAddress), []),
  ...given(fields, 'remoteRoleType', readRole),
}));

const readDesc = object<DescFields>((fields) => ({
  numTensors: fields.optional('numTensors', uint32, DEFAULT_CACHE_DESC.numTensors),
  dataType: fields.optional('dataType', readDataType, DEFAULT_CACHE_DESC.dataType),
  shape: fields.optional('shape', list(int64), DEFAULT_CACHE_DESC.shape),
  placement: fields.optional('placement', readPlacement, DEFAULT_CACHE_DESC.placement),
}));

const readDescChanges = object<Partial<DescFields>>((fields) => ({
  ...given(fields, 'numTensors', uint32),
  ...given(fields, 'dataType', readDataType),
  ...given(fields, 'shape', list(int64)),
  ...given(fields, 'placement', readPlacement),
}));

/** A name, or an object with an id. */
const readLocalCache: Reader<CacheReference> = (value, place) =>
  typeof value === 'string' ? { cache: value } : object((fields) => readReference(fields, NO_CACHE))(value, place);

const readRemoteCache = object<RemoteCache>((fields) => ({
  clusterId: fields.optional('clusterId', uint64, 0n),
  target: readReference(fields),
  batchIndex: fields.optional('batchIndex', uint32, 0),
}));

/** @param preset the id where neither is given; without it one has to be */
function readReference(fields: Fields, preset?: bigint): CacheReference {
  if (!fields.has('cache')) {
    return {
      cacheId: preset === undefined ? fields.get('cacheId', int64) : fields.optional('cacheId', int64, preset),
    };
  }
  if (fields.has('cacheId')) throw new ScenarioError(fields.place, 'both "cache" and "cacheId" are given');
  return { cache: fields.get('cache', text) };
}

/** A field that stays away when it is left out. */
function given<K extends string, T>(fields: Fields, key: K, read: Reader<T>): Partial<Record<K, T>> {
  // A computed key makes an index signature of the type.
  return fields.has(key) ? ({ [key]: fields.get(key, read) } as Record<K, T>) : {};
}

function clusterCall(fields: Fields) {
  return {
    clusters: fields.get('clusters', list(readCluster)),
    timeout: fields.optional('timeout', int32, DEFAULT_TIMEOUT_MS),
    status: fields.get('status', readStatus),
    results: fields.get('results', list(readStatus)),
  };
}

function transfer(fields: Fields) {
  return {
    ext: {
      ...given(fields, 'srcLayerRange', pair(int32)),
      ...given(fields, 'dstLayerRange', pair(int32)),
      ...given(fields, 'tensorNumPerLayer', uint8),
    },
    status: fields.get('status', readStatus),
    crc: fields.optional('crc', record(readCrc), new Map<string, string>()),
  };
}

function pull(fields: Fields) {
  return {
    src: fields.get('src', readRemoteCache),
    dst: fields.get('dst', readLocalCache),
    ...transfer(fields),
  };
}

function push(fields: Fields) {
  return {
    src: fields.get('src', readLocalCache),
    dst: fields.get('dst', readRemoteCache),
    bareSource: fields.optional('bareSource', flag, false),
    ...given(fields, 'srcDesc', readDescChanges),
    ...transfer(fields),
  };
}

function blockLists(fields: Fields) {
  return {
    srcBlocks: fields.get('srcBlocks', readBlocks),
    dstBlocks: fields.get('dstBlocks', readBlocks),
  };
}

const readRawCall: Reader<RawCall> = (value, place) => {
  const call = RAW_CALLS.find((known) => known === value);
  if (call !== undefined) return call;
  throw new ScenarioError(place, `expected one of ${RAW_CALLS.join(', ')}, found ${shown(value)}`);
};

/** What belongs to each kind of step, besides `op` and `node`. */
const READERS: { readonly [O in Op]: (fields: Fields) => Omit<Extract<Step, { op: O }>, 'op' | 'node'> } = {
  init: (fields) => ({
    options: fields.optional('options', readOptions, new Map()),
    status: fields.get('status', readStatus),
  }),
  finalize: () => ({}),
  setRole: (fields) => ({
    role: fields.get('role', readRole),
    options: fields.optional('options', readOptions, new Map()),
    status: fields.get('status', readStatus),
  }),
  register: (fields) => ({
    cache: fields.get('cache', text),
    desc: fields.get('desc', readDesc),
    base: fields.has('memoryOf') ? fields.optional('base', readBase, 0) : fields.get('base', readBase),
    ...given(fields, 'addrCount', readCount),
    ...given(fields, 'nullAddr', readCount),
    ...given(fields, 'memoryOf', text),
    status: fields.get('status', readStatus),
    ...given(fields, 'cacheId', int64),
  }),
  unregister: (fields) => ({ target: readReference(fields), status: fields.get('status', readStatus) }),
  link: clusterCall,
  unlink: (fields) => ({ ...clusterCall(fields), force: fields.optional('force', flag, false) }),
  pullCache: (fields) => ({
    ...pull(fields),
    batchIndex: fields.optional('batchIndex', uint32, 0),
    ...given(fields, 'size', int64),
  }),
  pullBlocks: (fields) => ({ ...pull(fields), ...blockLists(fields) }),
  pushCache: (fields) => ({
    ...push(fields),
    srcBatchIndex: fields.optional('srcBatchIndex', uint32, 0),
    ...given(fields, 'size', int64),
  }),
  pushBlocks: (fields) => ({ ...push(fields), ...blockLists(fields) }),
  raw: (fields) => {
    // The library does not look at what it is given here.
    fields.ignoreRest();
    return { call: fields.get('call', readRawCall), status: fields.get('status', readStatus) };
  },
};

const OPS: Readonly<Record<string, unknown>> = READERS;

/** The step at `index`; `place` is the scenario's. */
export function readStep(value: unknown, index: number, place: string): Step {
  const stepPlace = `${place}: step ${index}`;
  const op = new Fields(value, stepPlace).get('op', text);
  if (!Object.hasOwn(OPS, op)) {
    throw new ScenarioError(stepPlace, `unknown op ${shown(op)}; there are ${Object.keys(OPS).join(', ')}`);
  }
  const read = object((fields) => ({
    op: fields.get('op', text),
    node: fields.get('node', text),
    ...READERS[op as Op](fields),
  }));
  return read(value, `${stepPlace} (${op})`) as Step;
}

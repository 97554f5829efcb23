import { isIPv4 } from 'node:net';
import { types } from 'node:util';
import {
  checkArray,
  checkBoolean,
  checkInteger,
  checkObject,
  checkString,
  invalidArgType,
  isPlain,
  outOfRange,
} from './check';
import type { LLMConfigOptions } from './config';
import { editDistance } from './edit-distance';
import { LLMException } from './exception';
import { LLMStatusCode } from './status';
import { SumLimit } from './sum-limit';

const MAX_INT32 = 0x7fff_ffff;
const MAX_UINT32 = 0xffff_ffff;
/** Bounds the work and the message that a hostile key can cause. */
const MAX_SHOWN = 64;
/** UTF-16 units of a key or a value; the longest that the library reads is a resource of 64 KiB. */
const MAX_TEXT = 2 ** 20;
/** Of all keys and values of an object together: a thousand keys may share one text. */
const MAX_TEXT_IN_ALL = 2 ** 22;

/** The name of a property of `LLMConfig`. */
export type OptionProperty = keyof LLMConfigOptions;

/** What the properties hold once they are checked. */
type OptionValues = Required<LLMConfigOptions>;

type OptionRows = { readonly [K in keyof OptionValues]: PropertyRow<OptionValues[K]> };

/** The properties that were given, checked. */
export type AssignedOptions = { -readonly [K in keyof OptionValues]?: OptionValues[K] };

/** One option, under every name that it has. */
export interface OptionKey {
  /** The key that the C++ library (or, for options of the older engine, that engine) reads; none for `geOptions`. */
  readonly key?: string;
  /** The constant of the C++ headers that holds {@link key}, where there is one. */
  readonly constant?: string;
  /** The key that the Python package emits instead; it is translated to {@link key}. */
  readonly pythonKey?: string;
  /** The property of `LLMConfig`; none for keys that exist as raw options only. */
  readonly property?: OptionProperty;
  /** The property of Python's `LLMConfig`. */
  readonly pythonProperty?: string;
}

/** How the value of a property is checked, and the text it becomes (`undefined`: the option is left out). */
interface Rule<T> {
  readonly check: (value: unknown, name: string, operation: string) => T;
  readonly emit: (value: T) => string | undefined;
}

interface PropertyRow<T> extends Rule<T> {
  readonly names: Pick<OptionKey, 'key' | 'constant' | 'pythonKey'>;
}

/** The exception for a value that has the right type and is still not acceptable. */
export function refuseOption(operation: string, message: string, remedy: string, cause?: unknown): LLMException {
  const info = { operation, message, remedy };
  return new LLMException(LLMStatusCode.LLM_PARAM_INVALID, cause === undefined ? info : { ...info, cause });
}

/** A caller's text as it may appear in a message: quoted, escaped and of bounded length. */
export function quoteOption(text: string): string {
  return JSON.stringify(text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}...` : text);
}

/** A key or a value as C++ takes it. A C string ends at the first NUL, so the rest would be lost without a word. */
export function checkOptionText(value: unknown, name: string, operation: string): string {
  const text = checkString(value, name, MAX_TEXT);
  if (text.includes('\0')) {
    throw refuseOption(operation, `${name} contains a NUL character`, 'Remove it: the library reads up to a NUL only.');
  }
  return text;
}

/**
 * The own enumerable string keys of a caller's object, each value read once. Symbols are left alone, as in a spread.
 * Their texts are counted together, so that the sum is in range before one of them goes to the library.
 * An instance of some class that has no such keys (`Map`, a promise nobody awaited) would pass for "no options" and is
 * refused.
 */
export function* optionEntries(value: unknown, name: string): Generator<[key: string, value: unknown], void> {
  const object = checkObject(value, name);
  if (types.isMap(object)) throw invalidArgType(name, 'a plain object (for a Map: Object.fromEntries(map))', object);
  const keys = Object.keys(object);
  if (keys.length === 0 && !isPlain(object)) throw invalidArgType(name, 'an LLMConfig or a plain object', object);
  const characters = new SumLimit(name, MAX_TEXT_IN_ALL, 'characters');
  for (const key of keys) {
    const option = object[key];
    characters.add(key.length + (typeof option === 'string' ? option.length : 0));
    yield [key, option];
  }
}

/** A text that is left out when it is empty, as Python does. */
const text: Rule<string> = { check: checkOptionText, emit: (value) => (value === '' ? undefined : value) };

/** A text that is passed on even when it is empty, because the empty text means something to the library. */
const anyText: Rule<string> = { check: checkOptionText, emit: (value) => value };

const flag: Rule<boolean> = { check: checkBoolean, emit: (value) => (value ? '1' : '0') };

/** Python never says "0" here. */
const flagWhenTrue: Rule<boolean> = { check: checkBoolean, emit: (value) => (value ? '1' : undefined) };

/** An integer whose range is that of its C type. */
function integer(min: number, max: number): Rule<number> {
  return { check: (value, name) => checkInteger(value, name, min, max), emit: String };
}

/** An integer whose range has a meaning: leaving it is an invalid parameter, not a value that does not fit. */
function count(min: number, max: number): Rule<number> {
  return {
    check(value, name, operation) {
      if ((typeof value === 'number' || typeof value === 'bigint') && (value < min || value > max)) {
        throw refuseOption(
          operation,
          `${name} must be an integer from ${min} to ${max}, received ${value.toString()}`,
          `Set ${name} to a value in that range.`,
        );
      }
      return checkInteger(value, name, min, max);
    },
    emit: String,
  };
}

function checkDeviceId(value: unknown, name: string, operation: string): number {
  if ((typeof value === 'number' || typeof value === 'bigint') && value < 0) {
    throw refuseOption(
      operation,
      `${name} must not be negative, received ${value.toString()}`,
      'Use the logical id of a device, counted from 0.',
    );
  }
  return checkInteger(value, name, 0, MAX_INT32);
}

const deviceIds: Rule<number | readonly number[]> = {
  check(value, name, operation) {
    if (!Array.isArray(value)) return checkDeviceId(value, name, operation);
    const ids = checkArray(value, name, (id, idName) => checkDeviceId(id, idName, operation));
    if (ids.length === 0) {
      throw refuseOption(operation, `${name} is an empty list`, 'Give one device id.');
    }
    return Object.freeze(ids);
  },
  emit: (value) => (typeof value === 'number' ? String(value) : value.join(';')),
};

const waitTime: Rule<number | string> = {
  check(value, name, operation) {
    if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'bigint') {
      throw invalidArgType(name, 'an integer or a string of digits', value);
    }
    const remedy = `Set ${name} to a positive number of milliseconds.`;
    if (typeof value === 'string' && !/^[0-9]+$/.test(value)) {
      throw refuseOption(operation, `${name} must consist of digits, received ${quoteOption(value)}`, remedy);
    }
    if (!(Number(value) > 0)) {
      throw refuseOption(operation, `${name} must be above 0, received ${value.toString()}`, remedy);
    }
    if (typeof value !== 'string') return checkInteger(value, name, 1, MAX_INT32);
    if (Number(value) > MAX_INT32) throw outOfRange(name, `>= 1 and <= ${MAX_INT32}`, value);
    return value;
  },
  emit: String,
};

const fraction: Rule<number> = {
  check(value, name, operation) {
    if (typeof value !== 'number') throw invalidArgType(name, 'a number', value);
    if (!(value >= 0 && value <= 1)) {
      throw refuseOption(
        operation,
        `${name} must be from 0 to 1, received ${value}`,
        `Set ${name} to a fraction of the device memory, such as 0.95.`,
      );
    }
    return value;
  },
  emit: String,
};

/** Extra options, taken over as they are; `generateOptions` emits them one by one. */
const rawOptions: Rule<Readonly<Record<string, string>>> = {
  check(value, name, operation) {
    const entries = new Map<string, string>();
    for (const [key, option] of optionEntries(value, name)) {
      if (key === '__proto__') throw refuseOption(operation, `${name} has the key "__proto__"`, 'Remove that key.');
      const label = `${name}[${quoteOption(key)}]`;
      checkOptionText(key, `the key ${quoteOption(key)} of ${name}`, operation);
      entries.set(key, checkOptionText(option, label, operation));
    }
    return Object.freeze(Object.fromEntries(entries));
  },
  emit: () => undefined,
};

const clusterInfo: Rule<string> = {
  check(value, name, operation) {
    const json = checkOptionText(value, name, operation);
    try {
      return withNumericIps(json);
    } catch (error) {
      throw refuseOption(
        operation,
        `${name} is not a usable cluster description: ${(error as Error).message}`,
        'Give a JSON object; each element of its listen_ip_info needs an ip such as "192.168.1.1".',
        error,
      );
    }
  },
  emit: (value) => value,
};

/**
 * The ips inside `listen_ip_info` as little-endian integers, which is what the older engine reads.
 * JSON.parse would round 64-bit cluster ids, so strings and numbers travel as strings tagged "s" and "n".
 */
function withNumericIps(json: string): string {
  JSON.parse(json);
  const tagged = json.replace(/"([^"\\]*(?:\\.[^"\\]*)*)"|-?\d[\d.eE+-]*/g, (token, inner?: string) =>
    inner === undefined ? `"n${token}"` : `"s${inner}"`,
  );
  const info = jsonObject(JSON.parse(tagged), 'the text');
  const listenInfos = info.slisten_ip_info ?? [];
  if (!Array.isArray(listenInfos)) throw new SyntaxError('listen_ip_info must be a list');
  for (const element of listenInfos) {
    const listenInfo = jsonObject(element, 'an element of listen_ip_info');
    const ip = listenInfo.sip;
    if (ip === undefined) throw new SyntaxError('an element of listen_ip_info has no ip');
    if (typeof ip === 'string' && ip.startsWith('s')) listenInfo.sip = `n${littleEndian(ip.slice(1))}`;
  }
  return JSON.stringify(info).replace(/"([sn])([^"\\]*(?:\\.[^"\\]*)*)"/g, (_, tag: string, inner: string) =>
    tag === 'n' ? inner : `"${inner}"`,
  );
}

function jsonObject(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SyntaxError(`${what} must be a JSON object`);
  }
  return value as Record<string, unknown>;
}

function littleEndian(ip: string): number {
  if (!isIPv4(ip)) throw new SyntaxError(`${quoteOption(ip)} is not an IPv4 address`);
  return Buffer.from(ip.split('.').map(Number)).readUInt32LE();
}

function row<T>(rule: Rule<T>, key?: string, constant?: string, pythonKey?: string): PropertyRow<T> {
  const names = {
    ...(key === undefined ? {} : { key }),
    ...(constant === undefined ? {} : { constant }),
    ...(pythonKey === undefined ? {} : { pythonKey }),
  };
  return { ...rule, names };
}

/** The table that drives `LLMConfig`, `toOptions` and {@link OPTION_KEYS}. */
export const OPTION_PROPERTIES: OptionRows = {
  deviceId: row(deviceIds, 'llm.DeviceId', 'OPTION_DEVICE_ID', 'ge.exec.deviceId'),
  listenIpInfo: row(text, 'llm.ListenIpInfo', 'OPTION_LISTEN_IP_INFO', 'llm.listenIpInfo'),
  syncKvTimeout: row(waitTime, 'llm.SyncKvCacheWaitTime', 'OPTION_SYNC_CACHE_WAIT_TIME'),
  deployResPath: row(text, 'llm.deployResPath'),
  geOptions: row(rawOptions),
  bufPoolCfg: row(text, 'llm.BufPoolCfg', 'OPTION_BUF_POOL_CFG'),
  memPoolCfg: row(text, 'llm.MemPoolConfig'),
  hostMemPoolCfg: row(text, 'llm.HostMemPoolConfig'),
  enableSwitchRole: row(flagWhenTrue, 'llm.EnableSwitchRole', 'OPTION_ENABLE_SET_ROLE'),
  enableCacheManager: row(flag, 'llm.EnableCacheManager'),
  enableRemoteCacheAccessible: row(flag, 'llm.EnableRemoteCacheAccessible'),
  linkTotalTime: row(count(0, MAX_UINT32), 'llm.LinkTotalTime'),
  linkRetryCount: row(count(1, 100), 'llm.LinkRetryCount'),
  rdmaTrafficClass: row(integer(0, MAX_UINT32), 'llm.RdmaTrafficClass'),
  rdmaServiceLevel: row(integer(0, MAX_UINT32), 'llm.RdmaServiceLevel'),
  localCommRes: row(anyText, 'llm.LocalCommRes', 'OPTION_LOCAL_COMM_RES'),
  transferBackend: row(anyText, 'llm.TransferBackend', 'OPTION_TRANSFER_BACKEND'),
  globalResourceConfig: row(anyText, 'llm.GlobalResourceConfig', 'OPTION_GLOBAL_RESOURCE_CONFIG'),
  clusterInfo: row(clusterInfo, 'llm.ClusterInfo', 'LLM_OPTION_CLUSTER_INFO'),
  outputMaxSize: row(
    integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
    'llm.OutputMaxSize',
    'LLM_OPTION_OUTPUT_MAX_SIZE',
  ),
  memUtilization: row(fraction, 'llm.MemoryUtilization'),
};

const PROPERTY_NAMES = Object.keys(OPTION_PROPERTIES) as OptionProperty[];

/**
 * Every key that a caller may meet, in the order of Python's `LLMConfig`. Keys that the front ends of the library
 * write by themselves (`llm.Role`, `llm.ListenIp`, `llm.ListenPort`) are not among them.
 */
export const OPTION_KEYS: readonly OptionKey[] = Object.freeze([
  ...PROPERTY_NAMES.map((property) => ({
    ...OPTION_PROPERTIES[property].names,
    property,
    pythonProperty: property.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
  })),
  { key: 'ge.session_device_id' },
  { key: 'ge.flowGraphMemMaxSize' },
]);

const TRANSLATIONS: ReadonlyMap<string, string> = new Map(
  OPTION_KEYS.flatMap(({ key, pythonKey }): [string, string][] =>
    key !== undefined && pythonKey !== undefined ? [[pythonKey, key]] : [],
  ),
);

/** The key that the C++ library reads for a key in either spelling; any other key comes back as it is. */
export function libraryKey(key: string): string {
  return TRANSLATIONS.get(key) ?? key;
}

export function isOptionProperty(key: string): key is OptionProperty {
  return Object.hasOwn(OPTION_PROPERTIES, key);
}

/** Checks a value and stores it; `undefined` clears the property. A refused value changes nothing. */
export function assignOption<K extends OptionProperty>(
  values: Pick<AssignedOptions, K>,
  property: K,
  value: unknown,
  operation: string,
): void {
  if (value === undefined) Reflect.deleteProperty(values, property);
  else {
    const { check }: Rule<OptionValues[K]> = OPTION_PROPERTIES[property];
    values[property] = check(value, property, operation);
  }
}

/** The text that a property becomes; `undefined` when it is unset or left out. */
export function optionText<K extends OptionProperty>(
  values: Readonly<Pick<AssignedOptions, K>>,
  property: K,
): string | undefined {
  const value: OptionValues[K] | undefined = values[property];
  const { emit }: Rule<OptionValues[K]> = OPTION_PROPERTIES[property];
  return value === undefined ? undefined : emit(value);
}

/** Whether the key is one of the library's own kind; see {@link rawOptionKey}. */
export function isRawOptionKey(key: string): boolean {
  return key.startsWith('llm.') || key.startsWith('ge.');
}

/** Wrong letters of a key that is taken for a misspelling. The names of two known options differ in three at least. */
const MOST_WRONG_LETTERS = 2;

/**
 * The key that the C++ library reads for a key of its kind. An unknown one is passed on, because newer libraries
 * have more of them, unless it looks like a known one: the library would ignore it without a word.
 *
 * @throws LLMException `LLM_PARAM_INVALID` for a misspelt key, naming the right one.
 */
export function rawOptionKey(key: string, operation: string): string {
  const known = OPTION_KEYS.some(({ key: own, pythonKey }) => key === own || key === pythonKey);
  if (!known && isRawOptionKey(key) && nearest(key).distance <= MOST_WRONG_LETTERS) throw unknownOption(key, operation);
  return libraryKey(key);
}

/**
 * The known option whose name is nearest to a misspelt key, in whatever style the key is written: `device_id`,
 * `DeviceId`, `LLM.DEVICEID` and `OPTION_DEVICE_ID` all give `deviceId`. There always is one, however far.
 */
export function nearestKey(key: string): OptionKey {
  return nearest(key).option;
}

function nearest(key: string): { option: OptionKey; distance: number } {
  const wanted = normalise(key.slice(0, MAX_SHOWN));
  let found: { option: OptionKey; distance: number } = { option: {}, distance: Infinity };
  for (const option of OPTION_KEYS) {
    const { key: own, constant, pythonKey, property } = option;
    for (const spelling of [property, own, pythonKey, constant]) {
      if (spelling === undefined) continue;
      const distance = editDistance(wanted, normalise(spelling));
      if (distance < found.distance) found = { option, distance };
    }
  }
  return found;
}

/** The exception for a key that nobody reads. */
export function unknownOption(key: string, operation: string): LLMException {
  const { property, key: libraryName } = nearestKey(key);
  const names = [property, libraryName].filter((name) => name !== undefined).map((name) => `"${name}"`);
  return refuseOption(
    operation,
    `unknown option ${quoteOption(key)}`,
    `The nearest known option is ${names.join(', as a raw key ')}. Correct the key or remove it.`,
  );
}

function normalise(key: string): string {
  return key
    .toLowerCase()
    .replace(/^(?:llm|ge)[._]/, '')
    .replace(/[^a-z0-9]/g, '');
}

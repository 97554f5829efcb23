import { parseListenAddress, type ListenAddress } from './listen-address';
import { parseMemPoolConfig, type MemPoolConfig } from './mem-pool-config';
import { parseDigitsAsInt32, parseInt32, parseUint32 } from './number-text';
import { OptionError, quote } from './option-error';

export { checkHixlOptions, type HixlOptions } from './hixl-options';
export { OptionError } from './option-error';

/** Options as given to Initialize or SetRole. Keys that the library does not know are ignored. */
export type Options = Readonly<Record<string, string>>;

/** What Initialize reads before it chooses a backend. */
export interface DevicesAndListener {
  /** As `llm.DeviceId` lists them; more than one is refused later. */
  readonly devices: readonly number[];
  /** `undefined`: no listener. */
  readonly listen: ListenAddress | undefined;
}

/** What Initialize reads next; choosing a backend does away with the one of an Initialize that failed. */
export interface BackendChoice {
  readonly backend: 'hccl' | 'hixl';
  readonly deviceId: number;
}

/**
 * `llm.DeviceId` and `llm.ListenIpInfo`, in the library's order.
 * @throws OptionError
 */
export function readDevicesAndListener(options: Options): DevicesAndListener {
  const deviceText = options['llm.DeviceId'];
  if (deviceText === undefined) throw new OptionError('llm.DeviceId is missing; give the device number, such as "0".');
  const devices = deviceText.split(';').map((item) => parseDeviceId(item, deviceText));
  const listenText = options['llm.ListenIpInfo'];
  return { devices, listen: listenText === undefined ? undefined : parseListenAddress(listenText) };
}

/**
 * `llm.TransferBackend`, and that there is one device.
 * @throws OptionError
 */
export function readBackend(options: Options, devices: readonly number[]): BackendChoice {
  const backend = options['llm.TransferBackend'];
  if (backend !== undefined && backend !== 'hixl') {
    throw new OptionError(`llm.TransferBackend is ${quote(backend)}; it must be "hixl", or absent for HCCL.`);
  }
  const [deviceId, ...more] = devices;
  // A list is well-formed, but the part of the library that reads it second knows single numbers only.
  if (deviceId === undefined || more.length > 0) {
    throw new OptionError(`llm.DeviceId is ${quote(devices.join(';'))}; a cluster has exactly one device.`);
  }
  return { deviceId, backend: backend ?? 'hccl' };
}

function parseDeviceId(item: string, text: string): number {
  const deviceId = parseInt32(item);
  if (deviceId === undefined || deviceId < 0) {
    throw new OptionError(`llm.DeviceId is ${quote(text)}; it must be one number from 0 to 2147483647.`);
  }
  return deviceId;
}

/** What the HCCL backend takes from the options. */
export interface HcclOptions {
  /** `llm.LocalCommRes`, which is not looked into before a link is made; `undefined` when absent or empty. */
  readonly localCommRes: string | undefined;
}

/**
 * The option checks of the HCCL backend; they precede its listener.
 * @throws OptionError
 */
export function checkHcclOptions(options: Options): HcclOptions {
  for (const option of ['llm.RdmaTrafficClass', 'llm.RdmaServiceLevel']) {
    const text = options[option];
    if (text !== undefined && parseUint32(text) === undefined) {
      throw new OptionError(`${option} is ${quote(text)}; it must be a number from 0 to 4294967295.`);
    }
  }
  const totalTime = options['llm.LinkTotalTime'];
  if (totalTime !== undefined && parseInt32(totalTime) === undefined) {
    throw new OptionError(`llm.LinkTotalTime is ${quote(totalTime)}; it must be a 32-bit number of seconds.`);
  }
  const retryText = options['llm.LinkRetryCount'];
  if (retryText !== undefined) {
    const retryCount = parseInt32(retryText);
    if (retryCount === undefined || retryCount < 1 || retryCount > 100) {
      throw new OptionError(`llm.LinkRetryCount is ${quote(retryText)}; it must be a number from 1 to 100.`);
    }
  }
  // The front end writes both of these itself from llm.ListenIpInfo; half of them given by hand is noticed.
  if (
    options['llm.ListenPort'] !== undefined &&
    (options['llm.ListenIp'] ?? options['llm.ListenIpInfo']) === undefined
  ) {
    throw new OptionError('llm.ListenPort is given without llm.ListenIp; give llm.ListenIpInfo instead of both.');
  }
  const localCommRes = options['llm.LocalCommRes'];
  return { localCommRes: localCommRes === '' ? undefined : localCommRes };
}

/** What Initialize reads after the backend was started. */
export interface LateOptions {
  /**
   * Time limit of a transfer in milliseconds, an int32. Longer texts are cut to 32 bits as the library cuts them, so
   * 0 and negative values do occur.
   */
  readonly waitTimeMs: number;
  /** Device memory pool, when one is configured. */
  readonly devicePool: MemPoolConfig | undefined;
  /** Host memory pool, when one is configured. */
  readonly hostPool: MemPoolConfig | undefined;
}

const DEFAULT_WAIT_TIME_MS = 1000;

/**
 * `llm.SyncKvCacheWaitTime`, `llm.MemPoolConfig` and `llm.HostMemPoolConfig`. The backend listens by now, and keeps
 * its port when one of these is refused.
 * @throws OptionError
 */
export function checkLateOptions(options: Options): LateOptions {
  return {
    waitTimeMs: parseWaitTime(options['llm.SyncKvCacheWaitTime']),
    devicePool: parsePool('llm.MemPoolConfig', options),
    hostPool: parsePool('llm.HostMemPoolConfig', options),
  };
}

/** The time limit of a transfer, in milliseconds, of options that Initialize has taken; not below 0. */
export function waitTimeOf({ 'llm.SyncKvCacheWaitTime': text }: Options): number {
  return Math.max(0, text === undefined ? DEFAULT_WAIT_TIME_MS : (parseDigitsAsInt32(text) ?? 0));
}

function parseWaitTime(text: string | undefined): number {
  if (text === undefined) return DEFAULT_WAIT_TIME_MS;
  const waitTimeMs = parseDigitsAsInt32(text);
  if (waitTimeMs !== undefined) return waitTimeMs;
  throw new OptionError(`llm.SyncKvCacheWaitTime is ${quote(text)}; it must be digits only, in milliseconds.`);
}

function parsePool(option: string, options: Options): MemPoolConfig | undefined {
  const text = options[option];
  return text === undefined ? undefined : parseMemPoolConfig(option, text);
}

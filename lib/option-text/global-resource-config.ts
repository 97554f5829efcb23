import { memberOf, type JsonValue } from './json';
import { readJsonOption } from './json-option';
import { parseDouble, parseInt64 } from './number-text';
import { OptionError, quote } from './option-error';

const OPTION = 'llm.GlobalResourceConfig';

/** What the choice of an engine and the engines themselves need of `llm.GlobalResourceConfig`. */
export interface GlobalResourceConfig {
  /** `comm_resource_config.protocol_desc`: `protocol:placement` texts, unchecked; empty when absent. */
  readonly protocolDesc: readonly string[];
  /** `local_comm_res_path` */
  readonly localCommResPath: string | undefined;
  /** The whole object, for {@link checkChannelPool}. */
  readonly value: JsonValue;
}

/**
 * The checks that both engines share. Unknown keys are ignored.
 * @throws OptionError
 */
export function parseGlobalResourceConfig(text: string): GlobalResourceConfig {
  const value = readJsonOption(OPTION, text);
  if (value.kind !== 'object') throw new OptionError(`${OPTION} is ${quote(text)}; it must be a JSON object.`);
  const checkInteger = (key: string, min: bigint, max: bigint): void => {
    readInteger(key, memberOf(value, key), min, max);
  };
  checkFabricMemory(value);
  checkInteger('connect_pool.thread_num', 1n, 64n);
  checkInteger('connect_pool.task_queue_capacity', 1n, 65_535n);
  const protocolDesc = readProtocolDesc(memberOf(value, 'comm_resource_config.protocol_desc'));
  checkInteger('comm_resource_config.listen_port', 1n, 65_535n);
  checkInteger('comm_resource_config.qos', 0n, 7n);
  checkInteger('comm_resource_config.max_active_channels', 1n, 4_294_967_295n);
  return { protocolDesc, localCommResPath: readPath(memberOf(value, 'local_comm_res_path')), value };
}

function checkFabricMemory(config: JsonValue): void {
  const nested = memberOf(config, 'fabric_memory');
  const inner = readFabricMemory((key) => nested && memberOf(nested, key));
  const flat = readFabricMemory((key) => memberOf(config, `fabric_memory.${key}`));
  // The flat key wins, but a nested one that is wrong was refused all the same.
  const taskStreamNum = flat.taskStreamNum ?? inner.taskStreamNum ?? 1n;
  const unfold = flat.unfold ?? inner.unfold ?? true;
  if (unfold && taskStreamNum !== 1n) {
    throw new OptionError(
      `${OPTION}: fabric_memory.task_stream_num is ${taskStreamNum}; ` +
        'it must be 1 unless fabric_memory.enable_aicpu_unfold is false.',
    );
  }
}

interface FabricMemory {
  readonly taskStreamNum: bigint | undefined;
  readonly unfold: boolean | undefined;
}

function readFabricMemory(find: (key: string) => JsonValue | undefined): FabricMemory {
  const integer = (key: string, min: bigint, max: bigint): bigint | undefined =>
    readInteger(`fabric_memory.${key}`, find(key), min, max);
  integer('max_capacity', 1n, 1024n);
  integer('start_address', 0n, 1024n);
  const taskStreamNum = integer('task_stream_num', 1n, 8n);
  const unfold = find('enable_aicpu_unfold');
  if (unfold !== undefined && unfold.kind !== 'boolean') {
    throw new OptionError(`${OPTION}: fabric_memory.enable_aicpu_unfold must be true or false, without quotes.`);
  }
  return { taskStreamNum, unfold: unfold?.value };
}

function readProtocolDesc(member: JsonValue | undefined): readonly string[] {
  if (member === undefined) return [];
  const items = member.kind === 'array' ? member.items : [member];
  return items.map((item) => {
    if (item.kind === 'string') return item.value;
    throw new OptionError(`${OPTION}: comm_resource_config.protocol_desc must be a string or an array of strings.`);
  });
}

function readPath(member: JsonValue | undefined): string | undefined {
  if (member === undefined) return undefined;
  if (member.kind === 'string' && member.value !== '') return member.value;
  throw new OptionError(`${OPTION}: local_comm_res_path must be a non-empty string.`);
}

/** An integer, written as a number or as the text of one. */
function readInteger(key: string, member: JsonValue | undefined, min: bigint, max: bigint): bigint | undefined {
  if (member === undefined) return undefined;
  const value = integerOf(member);
  if (value === undefined || value < min || value > max) {
    throw new OptionError(`${OPTION}: ${key} must be an integer from ${min} to ${max}.`);
  }
  return value;
}

function integerOf(value: JsonValue): bigint | undefined {
  if (value.kind === 'unsigned' || value.kind === 'integer') return value.value;
  return value.kind === 'string' ? parseInt64(value.value) : undefined;
}

const MAX_CHANNELS = 512;

/**
 * The `channel_pool` keys, which only the communicator engine reads.
 *
 * A channel count needs both water lines; one water line without a channel count is ignored.
 * @throws OptionError
 */
export function checkChannelPool({ value }: GlobalResourceConfig): void {
  const maxChannel = readInteger(
    'channel_pool.max_channel',
    memberOf(value, 'channel_pool.max_channel'),
    1n,
    BigInt(MAX_CHANNELS),
  );
  const high = readWaterline(value, 'channel_pool.high_waterline');
  const low = readWaterline(value, 'channel_pool.low_waterline');
  if (high === undefined || low === undefined) {
    if (maxChannel === undefined) return;
    throw new OptionError(
      `${OPTION}: channel_pool.max_channel needs channel_pool.high_waterline and channel_pool.low_waterline too.`,
    );
  }
  const channels = Number(maxChannel ?? MAX_CHANNELS);
  const highMark = Math.max(Math.trunc(channels * high), 1);
  const lowMark = Math.max(Math.trunc(channels * low), 1);
  if (highMark <= lowMark) {
    throw new OptionError(
      `${OPTION}: of ${channels} channels channel_pool.high_waterline ${high} makes ${highMark} and ` +
        `channel_pool.low_waterline ${low} makes ${lowMark}; the first must be more.`,
    );
  }
}

function readWaterline(value: JsonValue, key: string): number | undefined {
  const member = memberOf(value, key);
  if (member === undefined) return undefined;
  const ratio = ratioOf(member);
  if (ratio === undefined || ratio <= 0 || ratio >= 1) {
    throw new OptionError(`${OPTION}: ${key} must be a number between 0 and 1, both excluded.`);
  }
  return ratio;
}

function ratioOf(value: JsonValue): number | undefined {
  if (value.kind === 'string') return parseDouble(value.value);
  return value.kind === 'float' ? value.value : undefined;
}

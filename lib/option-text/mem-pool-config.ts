import { memberOf, type JsonValue } from './json';
import { readJsonOption } from './json-option';
import { OptionError } from './option-error';

/** A parsed `llm.MemPoolConfig` or `llm.HostMemPoolConfig`. */
export interface MemPoolConfig {
  /** Bytes; at least one page. */
  readonly memorySize: bigint;
  /** log2 of the page size in bytes, 10 to 30. */
  readonly pageShift: number;
}

const DEFAULT_PAGE_SHIFT = 16;
const MAX_PAGES = 4_294_967_294n;

/**
 * Reads `{"memory_size": bytes, "page_shift"?: 10..30}`; both must be written as plain unsigned integers.
 * @throws OptionError
 */
export function parseMemPoolConfig(name: string, text: string): MemPoolConfig {
  const config = readJsonOption(name, text);
  const memorySize = unsigned(memberOf(config, 'memory_size'));
  if (memorySize === undefined) {
    throw new OptionError(`${name} must be an object whose "memory_size" is an unsigned integer, in bytes.`);
  }
  const pageShift = parsePageShift(name, memberOf(config, 'page_shift'));
  if (memorySize >> BigInt(pageShift) > MAX_PAGES) {
    throw new OptionError(`${name}: ${memorySize} bytes are too many pages of ${2 ** pageShift} bytes.`);
  }
  if (memorySize < 1n << BigInt(pageShift)) {
    throw new OptionError(`${name}: "memory_size" ${memorySize} is less than one page of ${2 ** pageShift} bytes.`);
  }
  return { memorySize, pageShift };
}

function parsePageShift(name: string, member: JsonValue | undefined): number {
  if (member === undefined) return DEFAULT_PAGE_SHIFT;
  const pageShift = unsigned(member);
  if (pageShift === undefined || pageShift < 10n || pageShift > 30n) {
    throw new OptionError(`${name}: "page_shift" must be an unsigned integer from 10 to 30.`);
  }
  return Number(pageShift);
}

function unsigned(value: JsonValue | undefined): bigint | undefined {
  return value?.kind === 'unsigned' ? value.value : undefined;
}

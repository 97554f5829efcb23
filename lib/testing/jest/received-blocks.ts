import { RegisteredCache } from '../../cache';
import { checkBytes, checkUint64List, invalidArgType, outOfRange } from '../../check';
import type { Instance } from '../../instance';
import type { Registration } from '../../registrations';
import { checkReceived } from './linked-to';
import type { MatcherResult, MatcherState } from './matcher';
import { result } from './matcher';

/**
 * What the blocks are to hold: all their bytes, tensor after tensor and in each of them block after block as they are listed;
 * or a function that gives the bytes of one block of one tensor.
 */
export type ExpectedBytes = Uint8Array | ((tensor: number, block: number) => Uint8Array);

/** Bytes that a message shows of either side. */
const SHOWN = 16;

/** A block of a tensor that does not hold what it should. */
interface Difference {
  readonly tensor: number;
  readonly block: number;
  readonly offset: number;
  readonly expected: Uint8Array;
  readonly actual: Uint8Array;
}

/** Whether blocks of a cache of an `LLMDataDist` hold certain bytes, in all tensors. */
export async function toHaveReceivedBlocks(
  this: MatcherState,
  received: unknown,
  cache: unknown,
  blocks: unknown,
  expectedBytes: unknown,
): Promise<MatcherResult> {
  const instance = checkReceived(received);
  const registration = checkCache(cache, instance);
  const numbers = checkBlocks(blocks, registration);
  const expected = checkExpected(expectedBytes, registration, numbers);
  const differences = await instance.run('toHaveReceivedBlocks', () =>
    compare(instance, registration, numbers, expected),
  );
  const pass = differences.length === 0;
  const total = registration.addrs.length * numbers.length;
  const which = `blocks ${numbers.join(', ')} of cache ${registration.cacheId} of cluster ${instance.clusterId}`;
  return result(this, pass, 'llmDataDist.toHaveReceivedBlocks(cache, blocks, expectedBytes)', [
    `Expected: ${pass ? 'other bytes' : 'these bytes'} in ${which}`,
    `Received: ${pass ? 'these bytes' : `other bytes in ${differences.length} of ${total} blocks (of all tensors)`}`,
    ...differences.slice(0, 1).flatMap(described),
  ]);
}

function checkCache(cache: unknown, instance: Instance): Registration {
  if (!RegisteredCache.is(cache) || !RegisteredCache.isOf(cache, instance)) {
    const expected = `a KvCache of registerCache() or allocateCache() of cluster ${instance.clusterId}, in the life that it leads now`;
    throw invalidArgType('cache', expected, cache);
  }
  return RegisteredCache.registrationOf(cache);
}

function checkBlocks(value: unknown, { size: { rows } }: Registration): number[] {
  const blocks = checkUint64List(value, 'blocks');
  if (blocks.length === 0) throw outOfRange('blocks.length', 'at least 1', 0);
  return Array.from(blocks, (block, i) => {
    if (block >= rows) throw outOfRange(`blocks[${i}]`, `< ${rows}, the blocks of the cache`, block);
    return Number(block);
  });
}

/** The bytes of block `blocks[index]` of a tensor. */
type BytesOf = (tensor: number, index: number) => Uint8Array;

function checkExpected(value: unknown, { addrs, size }: Registration, blocks: readonly number[]): BytesOf {
  const rowBytes = Number(size.rowBytes);
  if (typeof value === 'function') {
    const of = value as (tensor: number, block: number) => unknown;
    return (tensor, index) => {
      const block = blocks[index] ?? 0;
      const name = `expectedBytes(${tensor}, ${block})`;
      const bytes = checkBytes(of(tensor, block), name);
      if (bytes.length !== rowBytes)
        throw outOfRange(`${name}.length`, `${rowBytes}, the bytes of a block`, bytes.length);
      return bytes;
    };
  }
  const bytes = checkBytes(value, 'expectedBytes');
  const total = addrs.length * blocks.length * rowBytes;
  if (bytes.length !== total) {
    const range = `${total}: ${addrs.length} tensors of ${blocks.length} blocks of ${rowBytes} bytes`;
    throw outOfRange('expectedBytes.length', range, bytes.length);
  }
  return (tensor, index) => {
    const start = (tensor * blocks.length + index) * rowBytes;
    return bytes.subarray(start, start + rowBytes);
  };
}

async function compare(
  { backend }: Instance,
  { addrs, size }: Registration,
  blocks: readonly number[],
  bytesOf: BytesOf,
): Promise<Difference[]> {
  const differences: Difference[] = [];
  for (const [tensor, address] of addrs.entries()) {
    for (const [index, block] of blocks.entries()) {
      const expected = bytesOf(tensor, index);
      const actual = await backend.read(address + BigInt(block) * size.rowBytes, Number(size.rowBytes));
      const offset = actual.findIndex((byte, i) => byte !== expected[i]);
      if (offset >= 0) differences.push({ tensor, block, offset, expected, actual });
    }
  }
  return differences;
}

function described({ tensor, block, offset, expected, actual }: Difference): string[] {
  const [first = 0] = actual;
  const untouched = actual.every((byte) => byte === first) ? ` (all bytes of the block are ${hex([first])})` : '';
  return [
    '',
    `First difference: tensor ${tensor}, block ${block}, byte ${offset} of ${actual.length}, from there on`,
    `  expected ${hex(expected.subarray(offset, offset + SHOWN))}`,
    `  received ${hex(actual.subarray(offset, offset + SHOWN))}${untouched}`,
  ];
}

const hex = (bytes: Iterable<number>): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');

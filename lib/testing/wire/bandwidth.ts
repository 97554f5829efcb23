import { checkArray, checkFinite, checkInteger, checkObject, outOfRange } from '../../check';
import type { WireDirection } from '../../backend/mock/wire';
import { lowerBound } from '../../lower-bound';

/**
 * Bytes per second by the size of a block in bytes, as measured: sizes rise. A block between two of them takes a time
 * between those of the two, in proportion; a smaller one than the first takes as long as the first; a larger one than
 * the last moves with the bandwidth of the last.
 */
export type BandwidthTable = readonly (readonly [blockBytes: number, bytesPerSecond: number])[];

/** Bytes per second for blocks of any size, or by their size; for all directions, or by direction. */
export type Bandwidth = number | BandwidthTable | Readonly<Partial<Record<WireDirection, number | BandwidthTable>>>;

const DIRECTIONS: readonly WireDirection[] = ['D2rD', 'rD2D', 'D2rH', 'rH2D', 'H2rH', 'rH2H', 'H2rD', 'rD2H'];

/** Longer than any benchmark's table. */
const MAX_SIZES = 1024;

/** A block size, and the milliseconds that one block of it takes. */
interface Point {
  readonly bytes: number;
  readonly ms: number;
}

/** How long blocks take that have the wire to themselves. */
export class Speed {
  /** The most that it gets to, in bytes per millisecond. */
  readonly peak: number;
  readonly #points: readonly Point[];

  /** @param table bytes per second by block size, at least one */
  constructor(table: BandwidthTable) {
    this.#points = table.map(([bytes, bytesPerSecond]) => ({ bytes, ms: (1000 * bytes) / bytesPerSecond }));
    this.peak = Math.max(...table.map(([, bytesPerSecond]) => bytesPerSecond)) / 1000;
  }

  /** Milliseconds for one block. */
  msOf(bytes: number): number {
    if (bytes === 0) return 0;
    const index = lowerBound(this.#points, (point) => point.bytes < bytes);
    const [before, after] = [this.#points[index - 1], this.#points[index]];
    if (before !== undefined && after !== undefined) {
      const part = (bytes - before.bytes) / (after.bytes - before.bytes);
      return before.ms + part * (after.ms - before.ms);
    }
    if (before !== undefined) return (before.ms * bytes) / before.bytes;
    return after?.ms ?? 0;
  }
}

/** For blocks of any size: no smallest one, so that even one byte is in proportion. */
function constantSpeed(bytesPerSecond: number): Speed {
  return new Speed([[1, bytesPerSecond]]);
}

/** The speed of each direction; of those that are left out none, where it is given by direction. */
export type Speeds = ReadonlyMap<WireDirection, Speed>;

/** @throws TypeError, RangeError */
export function checkBandwidth(value: unknown, name: string): Speeds {
  if (typeof value === 'number' || Array.isArray(value)) {
    const speed = checkSpeed(value, name);
    return new Map(DIRECTIONS.map((direction) => [direction, speed]));
  }
  const fields = checkObject(value, name);
  const speeds = new Map<WireDirection, Speed>();
  for (const [direction, speed] of Object.entries(fields)) {
    if (!isDirection(direction)) throw outOfRange(name, `by direction: ${DIRECTIONS.join(', ')}`, direction);
    if (speed !== undefined) speeds.set(direction, checkSpeed(speed, `${name}.${direction}`));
  }
  if (speeds.size === 0) throw outOfRange(name, 'given for one direction at least', value);
  return speeds;
}

function isDirection(text: string): text is WireDirection {
  return DIRECTIONS.some((direction) => direction === text);
}

function checkSpeed(value: unknown, name: string): Speed {
  if (typeof value === 'number') return constantSpeed(checkFinite(value, name, 1));
  const table = checkArray(value, name, checkPoint, MAX_SIZES);
  if (table.length === 0) throw outOfRange(name, 'a table with one block size at least', value);
  for (const [i, [bytes]] of table.entries()) {
    if (bytes <= (table[i - 1]?.[0] ?? 0)) throw outOfRange(`${name}[${i}][0]`, 'above the size before it', bytes);
  }
  return new Speed(table);
}

function checkPoint(value: unknown, name: string): readonly [number, number] {
  const point = checkArray(value, name, (element) => element, MAX_SIZES);
  if (point.length !== 2) throw outOfRange(`${name}.length`, '2: block bytes and bytes per second', point.length);
  return [checkInteger(point[0], `${name}[0]`, 1, Number.MAX_SAFE_INTEGER), checkFinite(point[1], `${name}[1]`, 1)];
}

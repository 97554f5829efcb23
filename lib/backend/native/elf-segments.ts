export const LOAD = 1;
export const DYNAMIC = 2;
const NOTE = 4;
const TLS = 7;
const RELRO = 0x6474e552;

const PROGRAM_HEADER_BYTES = 56;
/** Whatever the page size of the host is, it is a multiple of this. */
const PAGE_BYTES = 4096;
/** User space of the hosts that there are. */
const MAX_ADDRESS = 2 ** 47;
/** No library needs as much for each thread; the loader ends the process where it cannot have it. */
const MAX_TLS_BYTES = 2 ** 30;

/** Segments that lie inside of a loaded one, by their names. */
const INNER: ReadonlyMap<number, string> = new Map([
  [DYNAMIC, 'PT_DYNAMIC'],
  [NOTE, 'PT_NOTE'],
  [TLS, 'PT_TLS'],
  [0x6474e550, 'PT_GNU_EH_FRAME'],
  [RELRO, 'PT_GNU_RELRO'],
]);

export const READABLE = 4;
export const EXECUTABLE = 1;

/** A part of the file, and where the loader maps it. */
export interface Segment {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly address: number;
  readonly fileBytes: number;
  readonly memoryBytes: number;
  readonly align: number;
}

/** Those that the loader maps or reads, in the order of the table. */
export function segmentsOf(table: Buffer): Segment[] {
  return Array.from({ length: Math.floor(table.length / PROGRAM_HEADER_BYTES) }, (_, index) => {
    const at = index * PROGRAM_HEADER_BYTES;
    const number = (field: number) => Number(table.readBigUInt64LE(at + field));
    return {
      type: table.readUInt32LE(at),
      flags: table.readUInt32LE(at + 0x04),
      offset: number(0x08),
      address: number(0x10),
      fileBytes: number(0x20),
      memoryBytes: number(0x28),
      align: number(0x30),
    };
  }).filter(
    ({ type, fileBytes, memoryBytes }) => (type === LOAD || INNER.has(type)) && (fileBytes > 0 || memoryBytes > 0),
  );
}

/** What is wrong with the segments, where the loader would map them all the same. */
export function segmentDamage(segments: readonly Segment[]): string | undefined {
  const loads = segments.filter(({ type }) => type === LOAD);
  for (const [index, load] of loads.entries()) {
    const damage = loadDamage(load) ?? neighbourDamage(load, loads.slice(index + 1));
    if (damage !== undefined) return `loaded segment ${index} ${damage}`;
  }
  for (const inner of segments.filter(({ type }) => type !== LOAD)) {
    const damage = innerDamage(inner, loads);
    if (damage !== undefined) return `its ${INNER.get(inner.type)} ${damage}`;
  }
  return undefined;
}

function loadDamage({ flags, offset, address, fileBytes, memoryBytes }: Segment): string | undefined {
  if (fileBytes > memoryBytes) return 'has more bytes in the file than in memory';
  if (address + memoryBytes > MAX_ADDRESS) return 'ends beyond the address space';
  if (fileBytes === 0) return undefined;
  if ((flags & 7) === 0) return 'may not be read, written or executed';
  return offset % PAGE_BYTES === address % PAGE_BYTES ? undefined : 'has an offset that does not fit its address';
}

/** The format asks for ascending addresses; each part of the file is mapped once. */
function neighbourDamage(load: Segment, later: readonly Segment[]): string | undefined {
  const [next] = later;
  if (next !== undefined && load.address + load.memoryBytes > next.address) return 'runs into the next one';
  const sharesBytes = later.some(
    ({ offset, fileBytes }) => offset < load.offset + load.fileBytes && load.offset < offset + fileBytes,
  );
  return sharesBytes ? 'shares bytes of the file with another one' : undefined;
}

function innerDamage(
  { type, offset, address, fileBytes, memoryBytes, align }: Segment,
  loads: readonly Segment[],
): string | undefined {
  if (type === TLS && (fileBytes > memoryBytes || memoryBytes > MAX_TLS_BYTES || align > MAX_TLS_BYTES)) {
    return 'has a size that cannot be';
  }
  if (type === RELRO) {
    return isWithin(loads, address, memoryBytes) ? undefined : 'lies outside of the loaded segments';
  }
  if (fileBytes === 0) return undefined;
  const load = loadOf(loads, address, fileBytes);
  if (load === undefined) return 'lies outside of the loaded segments';
  return offset - load.offset === address - load.address ? undefined : 'has an offset that does not fit its address';
}

/** Linkers let it span several segments, and fill the page at the end. */
function isWithin(loads: readonly Segment[], address: number, byteLength: number): boolean {
  const [first] = loads;
  const last = loads.at(-1);
  if (first === undefined || last === undefined) return false;
  const unit = Math.max(PAGE_BYTES, last.align);
  const end = Math.ceil((last.address + last.memoryBytes) / unit) * unit;
  return address >= first.address && address + byteLength <= end;
}

/** The loaded segment that has these bytes from the file. */
export function loadOf(loads: readonly Segment[], address: number, byteLength: number): Segment | undefined {
  return loads.find((load) => address >= load.address && address + byteLength <= load.address + load.fileBytes);
}

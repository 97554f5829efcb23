import { readSync } from 'node:fs';
import type { FileProblem } from './binary-file';
import { dynamicDamage } from './elf-dynamic';
import { DYNAMIC, LOAD, segmentDamage, segmentsOf } from './elf-segments';
import type { Segment } from './elf-segments';

/** ELF machine numbers of the hosts that there are, under Node's names for them. */
const MACHINES: ReadonlyMap<number, string> = new Map([
  [0x03, 'ia32'],
  [0x28, 'arm'],
  [0x3e, 'x64'],
  [0xb7, 'arm64'],
  [0xf3, 'riscv64'],
]);

const HEADER_BYTES = 64;
const CLASS_64 = 2;
const LITTLE_ENDIAN = 1;

const PROGRAM_HEADER_BYTES = 56;
/** No library has as many entries in its dynamic section; a number beyond it is no reason to read much. */
const MAX_DYNAMIC_BYTES = 64 * 1024;

/**
 * What is wrong with an open file as a library for this process, where its headers show it. The loader does not look: it
 * maps what a file that was cut off no longer has, and the process ends with SIGBUS; it reads and calls what is at the
 * addresses in a damaged file, and the process ends with SIGSEGV; and it says "No such file" of a library of another
 * machine.
 *
 * Headers do not show what is damaged elsewhere: pages of zeros inside of the code, a bit that has changed in a table. A
 * process that loads such a file may end. `probeNative()` loads it in another process, and survives it.
 */
export function elfProblem(file: number, size: number): FileProblem | undefined {
  const header = readAt(file, 0, HEADER_BYTES);
  if (header.toString('latin1', 0, 4) !== '\x7fELF') return unusable('the file is no ELF binary');
  if (header.length < HEADER_BYTES) return cutOff(size, HEADER_BYTES);
  const machine = machineProblem(header);
  if (machine !== undefined) return { kind: 'passed-over', text: machine };
  // The table of sections is the last thing in a file: the loader does not need it, but a file that lacks it is half a copy.
  const tables = Math.max(endOfTable(header, 0x20, 0x36, 0x38), endOfTable(header, 0x28, 0x3a, 0x3c));
  if (tables > size) return cutOff(size, tables);
  const segments = segmentsOf(programTable(file, header));
  const end = Math.max(0, ...segments.map(({ offset, fileBytes }) => offset + fileBytes));
  if (end > size) return cutOff(size, end);
  const damage = segmentDamage(segments) ?? damageOfDynamic(file, segments);
  return damage === undefined ? undefined : unusable(`the file is damaged: ${damage}`);
}

function machineProblem(header: Buffer): string | undefined {
  const machine = header.readUInt16LE(18);
  const arch = MACHINES.get(machine) ?? `machine ${machine}`;
  if (header[5] !== LITTLE_ENDIAN) return 'the file is a big-endian binary, this process runs on a little-endian host';
  if (arch !== process.arch) return `the file is a binary for ${arch}, this process runs on ${process.arch}`;
  return header[4] === CLASS_64 ? undefined : 'the file is a 32-bit binary, this process is a 64-bit one';
}

/** Empty where its entries are not of the usual size, which the loader refuses itself. */
function programTable(file: number, header: Buffer): Buffer {
  if (header.readUInt16LE(0x36) !== PROGRAM_HEADER_BYTES) return Buffer.alloc(0);
  const byteLength = header.readUInt16LE(0x38) * PROGRAM_HEADER_BYTES;
  return readAt(file, Number(header.readBigUInt64LE(0x20)), byteLength);
}

function damageOfDynamic(file: number, segments: readonly Segment[]): string | undefined {
  const dynamic = segments.find(({ type }) => type === DYNAMIC);
  // The loader refuses a file without one.
  if (dynamic === undefined) return undefined;
  const section = readAt(file, dynamic.offset, Math.min(dynamic.fileBytes, MAX_DYNAMIC_BYTES));
  const loads = segments.filter(({ type }) => type === LOAD);
  const damage = dynamicDamage(section, loads);
  return damage && `its dynamic section ${damage}`;
}

/** Where a table ends, by where the header has its offset, the size of an entry and their number. */
function endOfTable(header: Buffer, offset: number, entryBytes: number, count: number): number {
  return Number(header.readBigUInt64LE(offset)) + header.readUInt16LE(entryBytes) * header.readUInt16LE(count);
}

function cutOff(size: number, needed: number): FileProblem {
  return unusable(`the file is cut off: it has ${size} bytes, and its headers speak of ${needed}`);
}

function unusable(text: string): FileProblem {
  return { kind: 'unusable', text };
}

/** What the file has there, which may be less than was asked for. */
function readAt(file: number, position: number, byteLength: number): Buffer {
  // Beyond what a file can have there is nothing, and Node refuses the number.
  if (!Number.isSafeInteger(position)) return Buffer.alloc(0);
  const bytes = Buffer.alloc(byteLength);
  return bytes.subarray(0, readSync(file, bytes, 0, byteLength, position));
}

import { EXECUTABLE, loadOf, READABLE } from './elf-segments';
import type { Segment } from './elf-segments';

const ENTRY_BYTES = 16;
const ELF_HEADER_BYTES = 64;

const STRING_TABLE = 5;
const STRING_TABLE_BYTES = 10;
const SYMBOL_TABLE = 6;
const RELOCATION_BYTES = 8;
const PLT_RELOCATION_BYTES = 2;
const RELOCATION_COUNT = 0x6ffffff9;
const RELOCATION_ENTRY_BYTES = 24;

interface AddressTag {
  readonly name: string;
  readonly tag: number;
  /** Tag of the size, where it has one. */
  readonly size?: number;
  /** The size is a multiple of it; without a size, the least that must be there. */
  readonly unit: number;
  readonly needs?: number;
}

/** Entries that are addresses: what the loader reads, and the functions that it calls. */
const ADDRESSES: readonly AddressTag[] = [
  { name: 'DT_STRTAB', tag: STRING_TABLE, size: STRING_TABLE_BYTES, unit: 1 },
  { name: 'DT_SYMTAB', tag: SYMBOL_TABLE, unit: 24 },
  { name: 'DT_HASH', tag: 4, unit: 8 },
  { name: 'DT_GNU_HASH', tag: 0x6ffffef5, unit: 16 },
  { name: 'DT_RELA', tag: 7, size: RELOCATION_BYTES, unit: RELOCATION_ENTRY_BYTES },
  { name: 'DT_JMPREL', tag: 23, size: PLT_RELOCATION_BYTES, unit: RELOCATION_ENTRY_BYTES },
  { name: 'DT_RELR', tag: 36, size: 35, unit: 8 },
  { name: 'DT_INIT', tag: 12, unit: 1, needs: EXECUTABLE },
  { name: 'DT_FINI', tag: 13, unit: 1, needs: EXECUTABLE },
  { name: 'DT_INIT_ARRAY', tag: 25, size: 27, unit: 8 },
  { name: 'DT_FINI_ARRAY', tag: 26, size: 28, unit: 8 },
  { name: 'DT_VERSYM', tag: 0x6ffffff0, unit: 2 },
  { name: 'DT_VERDEF', tag: 0x6ffffffc, unit: 20 },
  { name: 'DT_VERNEED', tag: 0x6ffffffe, unit: 16 },
];

/** Entries that are offsets in the table of strings. */
const STRINGS: ReadonlyMap<number, string> = new Map([
  [1, 'DT_NEEDED'],
  [14, 'DT_SONAME'],
  [15, 'DT_RPATH'],
  [29, 'DT_RUNPATH'],
]);

/** Entries that have one right value. */
const CONSTANTS: readonly { readonly name: string; readonly tag: number; readonly value: number }[] = [
  { name: 'DT_RELAENT', tag: 9, value: RELOCATION_ENTRY_BYTES },
  { name: 'DT_SYMENT', tag: 11, value: 24 },
  { name: 'DT_PLTREL', tag: 20, value: 7 },
  { name: 'DT_RELRENT', tag: 37, value: 8 },
];

/** What is wrong with the dynamic section. The loader believes all of it, and the process ends where it should not have. */
export function dynamicDamage(section: Buffer, loads: readonly Segment[]): string | undefined {
  const entries = entriesOf(section);
  const values = new Map(entries);
  // A file of the right size may have nothing but zeros where a copy was interrupted.
  if (!values.has(STRING_TABLE) || !values.has(SYMBOL_TABLE)) return 'names no symbols';
  for (const address of ADDRESSES) {
    if (!isSound(address, values, loads)) return `has a ${address.name} or its size outside of the loaded segments`;
  }
  const wrong = CONSTANTS.find(({ tag, value }) => values.has(tag) && values.get(tag) !== value);
  if (wrong !== undefined) return `has a ${wrong.name} that is not ${wrong.value}`;
  const relocations = (values.get(RELOCATION_BYTES) ?? 0) / RELOCATION_ENTRY_BYTES;
  if ((values.get(RELOCATION_COUNT) ?? 0) > relocations) return 'counts more relocations than there are';
  const strings = values.get(STRING_TABLE_BYTES) ?? 0;
  const astray = entries.find(([tag, value]) => STRINGS.has(tag) && value >= strings);
  return astray && `has a ${STRINGS.get(astray[0])} outside of its table of strings`;
}

/** Tags and values, up to the end mark. */
function entriesOf(section: Buffer): [tag: number, value: number][] {
  const entries: [number, number][] = [];
  for (let at = 0; at + ENTRY_BYTES <= section.length; at += ENTRY_BYTES) {
    const tag = Number(section.readBigInt64LE(at));
    if (tag === 0) break;
    entries.push([tag, Number(section.readBigUInt64LE(at + 8))]);
  }
  return entries;
}

function isSound(
  { tag, size, unit, needs = READABLE }: AddressTag,
  values: ReadonlyMap<number, number>,
  loads: readonly Segment[],
): boolean {
  const address = values.get(tag);
  if (address === undefined) return true;
  const byteLength = size === undefined ? unit : values.get(size);
  if (byteLength === undefined || byteLength % unit !== 0) return false;
  // Linkers leave the address of an empty list as they like; calls need theirs, and a list of none is not named.
  if (byteLength === 0 && size !== PLT_RELOCATION_BYTES) return true;
  const load = byteLength === 0 ? undefined : loadOf(loads, address, byteLength);
  if (load === undefined || (load.flags & needs) === 0) return false;
  return load.offset + (address - load.address) >= ELF_HEADER_BYTES;
}

'use strict';

// What the header and the dynamic sections of an ELF file say. 64-bit, little-endian: all that Node runs on under Linux.

const fs = require('node:fs');

/** Machines under Node's names for them. */
const MACHINES = new Map([
  [0x3e, 'x64'],
  [0xb7, 'arm64'],
]);

const SYMTAB = 2;
const DYNAMIC = 6;
const DYNSYM = 11;
const VERSIONS_NEEDED = 0x6ffffffe;
const SYMBOL_VERSIONS = 0x6fffffff;

const TAG_NEEDED = 1n;

class ElfError extends Error {}

/** A section with the one that its header links it to, both as views of the file. */
function sectionsOf(file) {
  const start = Number(file.readBigUInt64LE(0x28));
  const size = file.readUInt16LE(0x3a);
  const count = file.readUInt16LE(0x3c);
  const headers = Array.from({ length: count }, (_, index) =>
    file.subarray(start + index * size, start + (index + 1) * size),
  );
  const bytesOf = (header) => {
    const offset = Number(header.readBigUInt64LE(0x18));
    return file.subarray(offset, offset + Number(header.readBigUInt64LE(0x20)));
  };
  return headers.map((header) => ({
    type: header.readUInt32LE(0x04),
    bytes: bytesOf(header),
    linked: bytesOf(headers[header.readUInt32LE(0x28)]),
  }));
}

function textAt(strings, offset) {
  return strings.toString('utf8', offset, strings.indexOf(0, offset));
}

/** The libraries that the loader brings along. */
function neededLibraries({ bytes, linked }) {
  const names = [];
  for (let at = 0; at < bytes.length; at += 16) {
    if (bytes.readBigInt64LE(at) === TAG_NEEDED) names.push(textAt(linked, Number(bytes.readBigUInt64LE(at + 8))));
  }
  return names;
}

/** The versions of other libraries' symbols, by the index that a symbol refers to them with. */
function neededVersions({ bytes, linked }) {
  const versions = new Map();
  for (let at = 0, next = -1; next !== 0; at += next) {
    const library = textAt(linked, bytes.readUInt32LE(at + 4));
    const count = bytes.readUInt16LE(at + 2);
    for (
      let i = 0, entry = at + bytes.readUInt32LE(at + 8);
      i < count;
      i += 1, entry += bytes.readUInt32LE(entry + 12)
    ) {
      versions.set(bytes.readUInt16LE(entry + 6), { library, version: textAt(linked, bytes.readUInt32LE(entry + 8)) });
    }
    next = bytes.readUInt32LE(at + 12);
  }
  return versions;
}

function dynamicSymbols({ bytes, linked }, versionIndexes) {
  return Array.from({ length: bytes.length / 24 }, (_, index) => ({
    name: textAt(linked, bytes.readUInt32LE(index * 24)),
    isDefined: bytes.readUInt16LE(index * 24 + 6) !== 0,
    versionIndex: versionIndexes?.readUInt16LE(index * 2),
  })).slice(1);
}

/**
 * @returns `machine`; `isStripped`; `libraries`, the names of those that it needs; `versions`, each `{ library, version,
 *     symbols }` that it needs; `exported`, the names that it defines for others.
 * @throws ElfError
 */
function readElf(path) {
  const file = fs.readFileSync(path);
  try {
    return read(file, path);
  } catch (cause) {
    if (cause instanceof ElfError) throw cause;
    throw new ElfError(`${path} is a damaged ELF file: ${cause.message}`, { cause });
  }
}

function read(file, path) {
  if (file.toString('latin1', 0, 4) !== '\x7fELF') throw new ElfError(`${path} is no ELF file`);
  if (file[4] !== 2 || file[5] !== 1) throw new ElfError(`${path} is no 64-bit little-endian ELF file`);
  const machine = file.readUInt16LE(18);
  const sections = sectionsOf(file);
  const section = (type) => sections.find((each) => each.type === type);
  const symbols = section(DYNSYM);
  const dynamic = section(DYNAMIC);
  if (symbols === undefined || dynamic === undefined) throw new ElfError(`${path} is no shared library or program`);
  const listed = dynamicSymbols(symbols, section(SYMBOL_VERSIONS)?.bytes);
  const needed = section(VERSIONS_NEEDED);
  return {
    machine: MACHINES.get(machine) ?? `machine ${machine}`,
    isStripped: section(SYMTAB) === undefined,
    libraries: neededLibraries(dynamic),
    versions: Array.from(needed === undefined ? [] : neededVersions(needed), ([index, { library, version }]) => ({
      library,
      version,
      symbols: listed.filter((symbol) => symbol.versionIndex === index && !symbol.isDefined).map(({ name }) => name),
    })),
    exported: listed.filter(({ isDefined }) => isDefined).map(({ name }) => name),
  };
}

module.exports = { readElf, ElfError };

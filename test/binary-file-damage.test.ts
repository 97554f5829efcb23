import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileProblem } from '../lib/backend/native/binary-file';
import { sharedLibrary } from './fixtures/shared-library';
import type { LibraryParts, ProgramHeader } from './fixtures/shared-library';

const folder = mkdtempSync(join(tmpdir(), 'binary-file-damage-'));
const file = join(folder, 'file.so');
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function damageOf(change?: (parts: LibraryParts) => void): string | undefined {
  writeFileSync(file, sharedLibrary(change));
  const problem = fileProblem(file);
  if (problem !== undefined) expect(problem.kind).toBe('unusable');
  return problem?.text;
}

test('a library without damage is not refused', () => {
  expect(damageOf()).toBeUndefined();
});

type Change = Partial<ProgramHeader>;
type Name = keyof LibraryParts['segments'];

test.each<[string, Name, Change, RegExp]>([
  ['no segment covers the data', 'data', { type: 0 }, /PT_DYNAMIC lies outside/],
  ['no segment covers the code', 'code', { type: 0x70000000 }, /PT_NOTE lies outside/],
  ['a segment without access', 'code', { flags: 0 }, /segment 0 may not be read/],
  ['nothing of the code is in the file', 'code', { fileBytes: 0 }, /PT_NOTE lies outside/],
  ['more in the file than in memory', 'data', { memoryBytes: 0x800 }, /segment 1 has more bytes in the file/],
  ['an offset within a page', 'data', { offset: 0x1100, fileBytes: 0xf00 }, /segment 1 has an offset/],
  ['the offset of another segment', 'data', { offset: 0 }, /segment 0 shares bytes/],
  ['memory that runs into the next segment', 'code', { memoryBytes: 0x3001 }, /segment 0 runs into the next/],
  ['an address in another segment', 'data', { address: 0 }, /segment 0 runs into the next/],
  ['addresses that do not ascend', 'code', { address: 0x8000 }, /segment 0 runs into the next/],
  ['memory without an end', 'data', { memoryBytes: 2 ** 63 }, /segment 1 ends beyond the address space/],
  ['a dynamic section elsewhere', 'dynamic', { address: 0x7ffffffff000 }, /PT_DYNAMIC lies outside/],
  ['a dynamic section unlike its offset', 'dynamic', { address: 0x3000 }, /PT_DYNAMIC has an offset/],
  ['frames elsewhere', 'frames', { address: 0x100000 }, /PT_GNU_EH_FRAME lies outside/],
  ['protected memory past the end', 'relro', { memoryBytes: 0x20000 }, /PT_GNU_RELRO lies outside/],
  ['thread-local data without an end', 'tls', { memoryBytes: 2 ** 46 }, /PT_TLS has a size/],
  ['thread-local data aligned to everything', 'tls', { align: 2 ** 46 }, /PT_TLS has a size/],
  ['thread-local data larger in the file', 'tls', { memoryBytes: 8 }, /PT_TLS has a size/],
])('refused: %s', (_, name, change, words) => {
  expect(damageOf(({ segments }) => Object.assign(segments[name], change))).toMatch(words);
});

/** Entries that are addresses. */
const ADDRESSES: [name: string, tag: number][] = [
  ['STRTAB', 5],
  ['SYMTAB', 6],
  ['GNU_HASH', 0x6ffffef5],
  ['RELA', 7],
  ['JMPREL', 23],
  ['INIT', 12],
  ['FINI', 13],
  ['INIT_ARRAY', 25],
  ['FINI_ARRAY', 26],
  ['VERSYM', 0x6ffffff0],
  ['VERNEED', 0x6ffffffe],
];

/** Damage of an entry, as each of these values gives it. */
function damageByValues(tag: number, values: readonly number[]): (string | undefined)[] {
  return values.map((value) => damageOf(({ tags }) => tags.set(tag, value)));
}

test.each(ADDRESSES)('refused: DT_%s that is 0, between segments, past the end, or huge', (name, tag) => {
  const words = `the file is damaged: its dynamic section has a DT_${name} or its size outside of the loaded segments`;
  expect(damageByValues(tag, [0, 0x2000, 0x102000, 2 ** 63])).toEqual([words, words, words, words]);
});

test.each([
  ['DT_STRTAB', 10],
  ['DT_RELA', 8],
  ['DT_JMPREL', 2],
  ['DT_INIT_ARRAY', 27],
  ['DT_FINI_ARRAY', 28],
])('refused: a size of %s past its segment, or none', (name, tag) => {
  expect(damageByValues(tag, [0x102000 * 24])[0]).toContain(`has a ${name} or its size`);
  expect(damageOf(({ tags }) => tags.delete(tag))).toContain(`has a ${name} or its size`);
});

test.each([
  ['DT_RELAENT that is not 24', 9],
  ['DT_SYMENT that is not 24', 11],
  ['DT_PLTREL that is not 7', 20],
  ['DT_NEEDED outside of its table of strings', 1],
  ['DT_SONAME outside of its table of strings', 14],
])('refused: %s', (words, tag) => {
  expect(damageByValues(tag, [0x102000])[0]).toContain(`has a ${words}`);
});

test('refused: a size that is not one of whole entries, or of no call at all', () => {
  expect(damageByValues(8, [40])[0]).toContain('has a DT_RELA or its size');
  expect(damageByValues(2, [0])[0]).toContain('has a DT_JMPREL or its size');
});

test('refused: functions in what is not code, tables in what may not be read, more relocations than there are', () => {
  expect(damageByValues(12, [0x3000])[0]).toContain('has a DT_INIT or its size');
  expect(damageOf(({ segments }) => (segments.code.flags = 1))).toContain('has a DT_STRTAB or its size');
  expect(damageByValues(0x6ffffff9, [3])[0]).toContain('counts more relocations than there are');
});

test('not refused: empty lists wherever they are, memory without bytes in the file', () => {
  const empty = ({ segments, tags }: LibraryParts) => {
    for (const [address, size] of [
      [25, 27],
      [26, 28],
    ] as const) {
      tags.set(address, 0);
      tags.set(size, 0);
    }
    Object.assign(segments.tls, { fileBytes: 0, offset: 0, address: 0x9000 });
  };
  expect(damageOf(empty)).toBeUndefined();
});

/** Where the libraries of a system are. */
const SYSTEM = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib', '/lib'];

test('no library of this system is refused', () => {
  const files = SYSTEM.filter(existsSync)
    .flatMap((place) => readdirSync(place).map((name) => join(place, name)))
    .filter((path) => /\.so(\.|$)/.test(path) && existsSync(path) && statSync(path).isFile());
  const refused = files
    .map((path) => ({ path, problem: fileProblem(path) }))
    // Linker scripts have such names too; and there may be libraries of other machines.
    .filter(({ problem }) => problem?.kind === 'unusable' && problem.text !== 'the file is no ELF binary');
  expect(refused).toEqual([]);
});

test('the program that runs this is not refused', () => {
  expect(fileProblem(process.execPath)).toBeUndefined();
});

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { fileProblem } from '../lib/backend/native/binary-file';

const folder = mkdtempSync(join(tmpdir(), 'binary-file-'));
const file = join(folder, 'file.so');
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const MACHINE = process.arch === 'arm64' ? 0xb7 : 0x3e;

interface Headers {
  readonly programs?: { readonly offset: bigint; readonly entryBytes: number; readonly count: number };
  readonly sections?: { readonly offset: bigint; readonly entryBytes: number; readonly count: number };
}

/** The header of a 64-bit library for this machine, and then these bytes. */
function library({ programs, sections }: Headers, rest = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(64);
  header.write('\x7fELF\x02\x01\x01', 'latin1');
  header.writeUInt16LE(3, 16);
  header.writeUInt16LE(MACHINE, 18);
  header.writeBigUInt64LE(programs?.offset ?? 0n, 0x20);
  header.writeBigUInt64LE(sections?.offset ?? 0n, 0x28);
  header.writeUInt16LE(programs?.entryBytes ?? 56, 0x36);
  header.writeUInt16LE(programs?.count ?? 0, 0x38);
  header.writeUInt16LE(sections?.entryBytes ?? 64, 0x3a);
  header.writeUInt16LE(sections?.count ?? 0, 0x3c);
  return Buffer.concat([header, rest]);
}

test.each<[string, Buffer, RegExp]>([
  [
    'a table of segments beyond the end',
    library({ programs: { offset: 64n, entryBytes: 56, count: 2 } }),
    /speak of 176$/,
  ],
  [
    'a table of sections beyond the end',
    library({ sections: { offset: 64n, entryBytes: 64, count: 1 } }),
    /speak of 128$/,
  ],
  [
    'a table at the largest number',
    library({ programs: { offset: 2n ** 64n - 1n, entryBytes: 56, count: 1 } }),
    /cut off/,
  ],
])('a header that names %s is one of a file that was cut off', (_, bytes, words) => {
  writeFileSync(file, bytes);
  expect(fileProblem(file)).toEqual({ kind: 'unusable', text: expect.stringMatching(words) as string });
});

test('headers of any contents give a report, and nothing is thrown', () => {
  const table = fc.record({
    offset: fc.oneof(fc.constantFrom(0n, 64n, 2n ** 63n, 2n ** 64n - 1n), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
    entryBytes: fc.oneof(fc.constantFrom(0, 56, 64), fc.integer({ min: 0, max: 0xffff })),
    count: fc.integer({ min: 0, max: 0xffff }),
  });
  const rest = fc.uint8Array({ maxLength: 512 });
  fc.assert(
    fc.property(fc.record({ programs: table, sections: table }), rest, (headers, bytes) => {
      writeFileSync(file, library(headers, Buffer.from(bytes)));
      const problem = fileProblem(file);
      expect(problem === undefined || problem.text.length > 0).toBe(true);
    }),
    { numRuns: 500 },
  );
});

test('segments of any contents give a report, and nothing is thrown', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 112, maxLength: 512 }), fc.constantFrom(1, 2, 4), (bytes, type) => {
      const rest = Buffer.from(bytes);
      rest.writeUInt32LE(type, 0);
      writeFileSync(file, library({ programs: { offset: 64n, entryBytes: 56, count: 2 } }, rest));
      const problem = fileProblem(file);
      expect(problem === undefined || problem.kind === 'unusable').toBe(true);
    }),
    { numRuns: 500 },
  );
});

import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { elfFile } from './fixtures/elf-file';
import type { ElfContents } from './fixtures/elf-file';

const script = path.join(__dirname, '..', 'scripts', 'check-glibc.js');

let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'check-glibc-'));
});

afterEach(() => {
  fs.rmSync(folder, { recursive: true });
});

function write(name: string, bytes: Uint8Array): void {
  fs.writeFileSync(path.join(folder, name), bytes);
}

function check(...names: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...names], { cwd: folder, encoding: 'utf8' });
  return { status, lines: stdout.split('\n').slice(0, -1), stderr };
}

function checkContents(contents: ElfContents) {
  write('addon.node', elfFile(contents));
  return check('addon.node');
}

const libc = (version: string, ...symbols: string[]) => ({ library: 'libc.so.6', version, symbols });

describe('check-glibc', () => {
  test('tells the newest versions of what loads wherever Node does', () => {
    const contents: ElfContents = {
      libraries: ['libstdc++.so.6', 'libm.so.6', 'libgcc_s.so.1', 'libc.so.6', 'ld-linux-x86-64.so.2'],
      versions: [
        libc('GLIBC_2.2.5', 'malloc'),
        libc('GLIBC_2.28', 'fcntl64'),
        libc('GLIBC_2.3', 'tolower'),
        { library: 'libstdc++.so.6', version: 'GLIBCXX_3.4.22', symbols: ['_ZTINSt6thread6_StateE'] },
        { library: 'libstdc++.so.6', version: 'GLIBCXX_3.4.9', symbols: ['_ZNSo'] },
        { library: 'libgcc_s.so.1', version: 'GCC_3.0', symbols: ['_Unwind_Resume'] },
      ],
    };
    expect(checkContents(contents)).toEqual({
      status: 0,
      lines: ['addon.node needs GCC_3.0, GLIBCXX_3.4.22, GLIBC_2.28 at most'],
      stderr: '',
    });
  });

  test('fails on each symbol of a newer version, and names it, the version and the limit', () => {
    const contents: ElfContents = {
      versions: [
        libc('GLIBC_2.34', 'dlopen', 'dlsym'),
        { library: 'libstdc++.so.6', version: 'GLIBCXX_3.4.30', symbols: ['_ZNSt18condition_variable4waitE'] },
        libc('GLIBC_2.9', 'pipe2'),
      ],
    };
    expect(checkContents(contents)).toEqual({
      status: 1,
      lines: [
        'addon.node needs dlopen of libc.so.6 at version GLIBC_2.34; GLIBC_2.28 is the limit',
        'addon.node needs dlsym of libc.so.6 at version GLIBC_2.34; GLIBC_2.28 is the limit',
        'addon.node needs _ZNSt18condition_variable4waitE of libstdc++.so.6 at version GLIBCXX_3.4.30; GLIBCXX_3.4.22 is the limit',
      ],
      stderr: '',
    });
  });

  test.each([
    ['GLIBC_2.28.1', 'GLIBC_2.28 is the limit'],
    ['GLIBC_3', 'GLIBC_2.28 is the limit'],
    ['CXXABI_1.3.10', 'CXXABI_1.3.9 is the limit'],
    ['GCC_12.0.0', 'GCC_4.2.0 is the limit'],
    ['GLIBC_PRIVATE', 'GLIBC_2.28 is the limit'],
    ['GLIBC_ABI_DT_RELR', 'GLIBC_2.28 is the limit'],
    ['CXXABI_FLOAT128', 'CXXABI_1.3.9 is the limit'],
    ['OPENSSL_3.0.0', 'no limit is known for it'],
  ])('fails on version %s', (version, limit) => {
    const { status, lines } = checkContents({ versions: [libc(version, 'something')] });
    expect(lines).toEqual([`addon.node needs something of libc.so.6 at version ${version}; ${limit}`]);
    expect(status).toBe(1);
  });

  test('fails on a version that is needed for no symbol', () => {
    expect(checkContents({ versions: [libc('GLIBC_2.36')] }).lines).toEqual([
      'addon.node needs the library as a whole of libc.so.6 at version GLIBC_2.36; GLIBC_2.28 is the limit',
    ]);
  });

  test('fails on a library that Node does not bring along', () => {
    const { status, lines } = checkContents({ libraries: ['libc.so.6', 'libascendcl.so', 'libasan.so.8'] });
    expect(lines).toEqual([
      'addon.node needs libascendcl.so, which Node does not bring along',
      'addon.node needs libasan.so.8, which Node does not bring along',
    ]);
    expect(status).toBe(1);
  });

  test('looks at all files, whatever it finds in the first', () => {
    write('one.so', elfFile({ versions: [libc('GLIBC_2.34', 'dlopen')] }));
    write('two.so', elfFile({ machine: 'arm64', versions: [libc('GLIBC_2.17', 'dlopen')] }));
    expect(check('one.so', 'two.so')).toEqual({
      status: 1,
      lines: [
        'one.so needs dlopen of libc.so.6 at version GLIBC_2.34; GLIBC_2.28 is the limit',
        'two.so needs GLIBC_2.17 at most',
      ],
      stderr: '',
    });
  });

  test.each([
    ['no ELF file', Buffer.from('#!/bin/sh\n')],
    ['no 64-bit little-endian ELF file', Buffer.from('\x7fELF\x01\x01', 'latin1')],
    ['a damaged ELF file', elfFile({ exported: ['something'] }).subarray(0, 200)],
    ['no shared library or program', withoutSections(elfFile())],
  ])('says that something is %s', (what, bytes) => {
    write('addon.node', bytes);
    const { status, lines, stderr } = check('addon.node');
    expect(stderr).toMatch(/^check-glibc: [^\n]*\n$/);
    expect(stderr).toContain(what);
    expect({ status, lines }).toEqual({ status: 1, lines: [] });
  });

  test('says that a file is not there, or that none is named', () => {
    expect(check('nothing.so')).toMatchObject({ status: 1, stderr: expect.stringContaining('nothing.so') as string });
    expect(check()).toEqual({ status: 1, lines: [], stderr: 'check-glibc: name the files to look at\n' });
  });
});

function withoutSections(file: Buffer): Buffer {
  const copy = Buffer.from(file);
  copy.writeUInt16LE(0, 0x3c);
  return copy;
}

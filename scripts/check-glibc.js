#!/usr/bin/env node
'use strict';

// Says of binaries whether they load wherever Node's own do: what they ask of glibc, libstdc++ and libgcc may not be newer.
//
//   node scripts/check-glibc.js FILE...
//
// One line per file, or per symbol that is too new; the exit code is 1 when there is one. native/glibc_floor.cc is the
// place to lower it.

const path = require('node:path');
const { readElf, ElfError } = require('./elf');

/**
 * The newest version of each family that may be asked for. glibc 2.28 is what Node 20, 22 and 24 ask for themselves; the
 * oldest libstdc++ that a distribution of that time has is GCC 7's (GLIBCXX_3.4.24). Threads need GCC 6's, which is one
 * step beyond Node's GLIBCXX_3.4.21.
 */
const FLOOR = new Map([
  ['GLIBC', '2.28'],
  ['GLIBCXX', '3.4.22'],
  ['CXXABI', '1.3.9'],
  ['GCC', '4.2.0'],
]);

/** What Node itself brings into the process. */
const LIBRARIES = /^(lib(c|m|dl|pthread)\.so\.\d|libstdc\+\+\.so\.6|libgcc_s\.so\.1|ld-linux-[\w-]+\.so\.\d)$/;

function isNewer(version, limit) {
  const [a, b] = [version, limit].map((text) => text.split('.').map(Number));
  const at = a.findIndex((part, index) => part !== (b[index] ?? 0));
  return at >= 0 && a[at] > (b[at] ?? 0);
}

function isAbove(version) {
  const [, family, number] = /^([A-Z]+)_(\d+(?:\.\d+)*)$/.exec(version) ?? [];
  // A version without a number, such as GLIBC_PRIVATE, stands for what no floor has.
  return !FLOOR.has(family) || isNewer(number, FLOOR.get(family));
}

function limitFor(version) {
  const family = version.split('_')[0];
  return FLOOR.has(family) ? `${family}_${FLOOR.get(family)} is the limit` : 'no limit is known for it';
}

/**
 * What the binary needs and hosts may not have, one line each.
 * @throws ElfError
 */
function newerThanFloor(file) {
  const { libraries, versions } = readElf(file);
  return [
    ...libraries
      .filter((name) => !LIBRARIES.test(name))
      .map((name) => `needs ${name}, which Node does not bring along`),
    ...versions
      .filter(({ version }) => isAbove(version))
      .flatMap(({ library, version, symbols }) =>
        (symbols.length > 0 ? symbols : ['the library as a whole']).map(
          (symbol) => `needs ${symbol} of ${library} at version ${version}; ${limitFor(version)}`,
        ),
      ),
  ];
}

/** The newest version of each family that the binary needs, such as `GLIBC_2.17`. */
function newestVersions(file) {
  const newest = new Map();
  for (const { version } of readElf(file).versions) {
    const [family, number] = version.split('_');
    if (!newest.has(family) || isNewer(number, newest.get(family))) newest.set(family, number);
  }
  return Array.from(newest, (pair) => pair.join('_')).sort();
}

function main(files) {
  if (files.length === 0) throw new ElfError('name the files to look at');
  for (const file of files) {
    const problems = newerThanFloor(file);
    if (problems.length > 0) process.exitCode = 1;
    const name = path.relative(process.cwd(), file);
    const lines = problems.length > 0 ? problems : [`needs ${newestVersions(file).join(', ')} at most`];
    console.log(lines.map((line) => `${name} ${line}`).join('\n'));
  }
}

module.exports = { newerThanFloor, newestVersions };

if (require.main === module) {
  try {
    main(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof ElfError) && error.code !== 'ENOENT') throw error;
    console.error(`check-glibc: ${error.message}`);
    process.exitCode = 1;
  }
}

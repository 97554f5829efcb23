'use strict';

// Which compilers and build tools this host has.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

/** What compilers and Debian's packages call a processor, by Node's name for it. */
const TARGETS = new Map([
  ['x64', 'x86_64'],
  ['arm64', 'aarch64'],
]);

/** What the file system answers, or `otherwise` where it cannot be asked: a PATH may name what is closed to this user. */
function unlessClosed(ask, otherwise) {
  try {
    return ask();
  } catch (error) {
    if (error.syscall === undefined) throw error;
    return otherwise;
  }
}

function isProgram(file) {
  const stat = unlessClosed(() => fs.statSync(file));
  return stat?.isFile() === true && (stat.mode & 0o111) !== 0;
}

function foldersOfPath() {
  return (process.env.PATH ?? '').split(path.delimiter).filter((folder) => folder !== '');
}

/** Whether `command` is a path to a program, or the name of one on the PATH. */
function hasProgram(command) {
  const folders = command.includes(path.sep) ? [''] : foldersOfPath();
  return folders.some((folder) => isProgram(path.resolve(folder, command)));
}

/** Compilers on the PATH for another processor, such as `aarch64-linux-gnu-g++-12`, the newest last. */
function crossCompilers(target) {
  const name = new RegExp(`^${target}-linux-gnu-g\\+\\+(-\\d+)?$`);
  return foldersOfPath()
    .flatMap((folder) =>
      unlessClosed(() => fs.readdirSync(folder), []).filter(
        (file) => name.test(file) && isProgram(path.join(folder, file)),
      ),
    )
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
}

/** The processor that a compiler makes code for, under the compiler's name for it. */
function targetOf(compiler) {
  const [program, ...args] = compiler.trim().split(/\s+/);
  const { stdout } = spawnSync(program, [...args, '-dumpmachine'], { encoding: 'utf8' });
  return stdout?.trim().split('-')[0];
}

/**
 * The C++ compiler for a processor: `CXX` where that makes code for it, else one that is on the PATH.
 *
 * @param arch as in `process.arch`
 * @returns the command, or undefined when there is none
 */
function compilerFor(arch) {
  const target = TARGETS.get(arch);
  const { CXX: chosen = '' } = process.env;
  if (chosen !== '' && (target === undefined || targetOf(chosen) === target)) return chosen;
  if (arch === process.arch) return ['g++', 'clang++'].find(hasProgram);
  return crossCompilers(target).at(-1);
}

/**
 * What is missing on this host, one entry per tool with the way to get it; empty when the addon can be built.
 *
 * @param options.withGyp with node-gyp instead of cmake-js
 * @param options.arch the processor to build for, this host's without it
 */
function missingTools({ withGyp = false, arch = process.arch } = {}) {
  if (process.platform !== 'linux') return ['Linux, the only system that there is a library of the vendor for'];
  const missing = [];
  if (compilerFor(arch) === undefined) {
    const [what, programs, name] =
      arch === process.arch
        ? ['a C++17 compiler', 'g++ or clang++', 'g++']
        : [`a C++17 compiler for ${arch}`, `${TARGETS.get(arch)}-linux-gnu-g++`, `g++-${TARGETS.get(arch)}-linux-gnu`];
    missing.push(`${what} (${programs}; on Debian or Ubuntu: apt-get install ${name.replaceAll('_', '-')})`);
  }
  if (!(withGyp ? ['make'] : ['make', 'ninja']).some(hasProgram)) {
    missing.push('make (on Debian or Ubuntu: apt-get install make)');
  }
  if (withGyp && !['python3', 'python', process.env.PYTHON ?? 'python3'].some(hasProgram)) {
    missing.push('Python 3, which node-gyp needs (on Debian or Ubuntu: apt-get install python3)');
  }
  if (!withGyp && !hasProgram('cmake')) {
    missing.push('CMake 3.19 or later (on Debian or Ubuntu: apt-get install cmake), or build with --gyp instead');
  }
  if (!hasProgram('flock')) {
    missing.push('flock (on Debian or Ubuntu: apt-get install util-linux)');
  }
  return missing;
}

module.exports = { TARGETS, compilerFor, hasProgram, missingTools };

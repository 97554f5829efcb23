'use strict';

// The sanitizers of GCC under an ordinary node binary: the runtime library comes first, by LD_PRELOAD.

const { spawnSync } = require('node:child_process');
const path = require('node:path');

/** The library of each sanitizer that has to be in the process before anything else. */
const RUNTIMES = new Map([
  ['address', 'libasan.so'],
  ['leak', 'liblsan.so'],
  ['thread', 'libtsan.so'],
]);

/** Sanitizers that a build may be made with. */
const SANITIZERS = [...RUNTIMES.keys(), 'undefined'];

class SanitizerError extends Error {}

function fileOfCompiler(compiler, name) {
  const [program, ...args] = compiler.trim().split(/\s+/);
  const { stdout, error } = spawnSync(program, [...args, `-print-file-name=${name}`], { encoding: 'utf8' });
  const file = stdout?.trim() ?? '';
  // GCC answers with the bare name when it has no such file.
  if (path.isAbsolute(file)) return file;
  const reason = error === undefined ? '' : ` (${error.message})`;
  throw new SanitizerError(`${program} has no ${name}${reason}: sanitized builds need GCC with its sanitizers`);
}

/**
 * The environment of a process that loads binaries built with these sanitizers.
 *
 * @param settings of each runtime by its variable, such as `{ ASAN_OPTIONS: { detect_leaks: 0 } }`
 * @throws SanitizerError
 */
function sanitizedEnvironment(sanitizers, compiler, settings) {
  const runtimes = sanitizers.filter((each) => RUNTIMES.has(each)).map((each) => RUNTIMES.get(each));
  const texts = Object.entries(settings).map(([name, values]) => [
    name,
    Object.entries(values).map(assignment).join(':'),
  ]);
  return {
    ...Object.fromEntries(texts),
    ...(runtimes.length > 0 && { LD_PRELOAD: runtimes.map((name) => fileOfCompiler(compiler, name)).join(':') }),
  };
}

function assignment([name, value]) {
  return `${name}=${value}`;
}

module.exports = { SANITIZERS, SanitizerError, sanitizedEnvironment };

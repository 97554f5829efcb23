'use strict';

const { spawnSync } = require('node:child_process');
const path = require('node:path');

const root = path.resolve(__dirname, '..');

/** The tests of the shim; those of the stand-in itself, one folder below, do not depend on how the shim was built. */
const SHIM_TESTS = String.raw`test/native/[^/]+\.test\.ts$`;

/**
 * Runs jest to its end.
 *
 * @param options.args of jest
 * @param options.env beside that of this process
 * @param options.node the program that runs it; that of this process without it
 * @param options.folder of the package, when it is a copy
 * @param options.stdio as for spawnSync; what is not inherited is in the result
 */
function runJest({ args, env = {}, node = process.execPath, folder = root, stdio = 'inherit' }) {
  const jest = path.join(folder, 'node_modules', 'jest', 'bin', 'jest.js');
  return spawnSync(node, [jest, '--ci', ...args], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    stdio,
  });
}

/** How a process ended that was to end well, or undefined when it did. */
function failureOf({ status, signal, error }) {
  if (status === 0) return undefined;
  return error?.message ?? signal ?? `exit code ${status}`;
}

module.exports = { SHIM_TESTS, failureOf, runJest };

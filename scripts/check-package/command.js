'use strict';

// Programs that the checks run: npm, package managers, compilers, Node.

const { spawnSync } = require('node:child_process');
const { CheckError } = require('./report');

/**
 * The environment without what npm gives to the scripts that it starts: another npm would work in this package's folder,
 * and a publication that is only tried would keep it from packing. Reports are read in logs, so there are no colours.
 */
function plainEnvironment() {
  const given =
    /^npm_(package|lifecycle|node_execpath|execpath|command|config_(dry_run|global_prefix|local_prefix|prefix|user_agent))/;
  const kept = Object.entries(process.env).filter(([name]) => !given.test(name));
  // With both variables set Node would print a warning about them.
  return { ...Object.fromEntries(kept), NO_COLOR: '1', FORCE_COLOR: undefined };
}

function run(command, args, cwd, env = {}) {
  const options = { cwd, env: { ...plainEnvironment(), ...env }, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 };
  const result = spawnSync(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  const status = result.status ?? result.signal ?? result.error?.message;
  return { status, output: `${result.stdout ?? ''}${result.stderr ?? ''}` };
}

/**
 * Runs a program that has to succeed; what it printed is the reason when it does not.
 *
 * @returns what it printed
 * @throws CheckError
 */
function runWell(command, args, cwd, env) {
  const { status, output } = run(command, args, cwd, env);
  if (status !== 0) throw new CheckError(`it ended with ${status}:\n${output}`);
  return output;
}

/** Runs JavaScript in the consumer's project; loading a package must not print anything. */
function runQuietly(project, inputType, source, env) {
  const { status, output } = run(process.execPath, [`--input-type=${inputType}`, '-e', source], project, env);
  if (status !== 0 || output !== '') throw new CheckError(`it ended with ${status} and printed:\n${output}`);
}

module.exports = { run, runQuietly, runWell };

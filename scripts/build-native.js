#!/usr/bin/env node
'use strict';

// Builds the addon into build/Release/llm_datadist.node, in the folder above this script.
//
//   node scripts/build-native.js           with CMake, through cmake-js (the main build)
//   node scripts/build-native.js --gyp     with node-gyp, for hosts that have no CMake
//   node scripts/build-native.js --check   only says whether this host has the tools (may follow --gyp)

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const root = path.resolve(__dirname, '..');
const buildDir = path.join(root, 'build');
const addon = path.join(buildDir, 'Release', 'llm_datadist.node');

class BuildError extends Error {}

/** True when `command` is a path to a program, or the name of one on the PATH. */
function isProgram(command) {
  const folders = command.includes(path.sep) ? [''] : (process.env.PATH ?? '').split(path.delimiter);
  const endings = process.platform === 'win32' ? ['.exe', '.cmd', '.bat', ''] : [''];
  return folders.some((folder) =>
    endings.some((ending) => {
      const stat = fs.statSync(path.resolve(root, folder, command + ending), { throwIfNoEntry: false });
      return stat?.isFile() === true && (process.platform === 'win32' || (stat.mode & 0o111) !== 0);
    }),
  );
}

/** What is missing on this host, one line per tool with the way to get it; empty when the addon can be built. */
function missingTools(withGyp) {
  const missing = [];
  // Visual Studio and its Python are not on the PATH: there the build tools look for them, and say what is absent.
  const posix = process.platform !== 'win32';
  if (posix && !['g++', 'clang++'].some(isProgram)) {
    missing.push('a C++17 compiler (g++ or clang++; on Debian or Ubuntu: apt-get install g++)');
  }
  if (posix && !(withGyp ? ['make'] : ['make', 'ninja']).some(isProgram)) {
    missing.push('make (on Debian or Ubuntu: apt-get install make)');
  }
  if (posix && withGyp && !['python3', 'python', process.env.PYTHON ?? 'python3'].some(isProgram)) {
    missing.push('Python 3, which node-gyp needs (on Debian or Ubuntu: apt-get install python3)');
  }
  if (!withGyp && !isProgram('cmake')) {
    missing.push('CMake 3.19 or later (on Debian or Ubuntu: apt-get install cmake), or build with --gyp instead');
  }
  return missing;
}

/** The path of a development dependency's program. */
function programOf(name, program) {
  const manifest = path.join(root, 'node_modules', name, 'package.json');
  if (!fs.existsSync(manifest)) {
    throw new BuildError(`${name} is not installed in ${path.join(root, 'node_modules')}: run \`npm ci\` first`);
  }
  return path.join(path.dirname(manifest), program);
}

function run(what, args, options = {}) {
  const result = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit', ...options });
  if (result.status !== 0) {
    const how = result.error?.message ?? (result.signal === null ? `exit code ${result.status}` : result.signal);
    throw new BuildError(`${what} failed (${how}); its own messages are above`);
  }
}

function buildWithCmake() {
  const cmakeJs = programOf('cmake-js', 'bin/cmake-js');
  // node-gyp leaves files of the same names in build/, which CMake would take for its own.
  if (fs.existsSync(path.join(buildDir, 'config.gypi'))) {
    fs.rmSync(buildDir, { recursive: true });
  }
  // `build` alone ignores the options when an earlier configuration is there.
  run('cmake-js configure', [cmakeJs, 'configure', '--log-level', 'warn', '--CDLLM_DATADIST_WERROR=ON']);
  const jobs = String(os.availableParallelism());
  run('cmake-js build', [cmakeJs, 'build', '--log-level', 'warn', '--parallel', jobs]);
}

function buildWithGyp() {
  const nodeGyp = programOf('node-gyp', 'bin/node-gyp.js');
  const args = [nodeGyp, 'rebuild', '--loglevel', 'warn', '--jobs', 'max'];
  const installed = path.resolve(process.execPath, '../..');
  let hint = '';
  if (process.env.npm_config_nodedir === undefined) {
    // The headers of the Node that runs this script need no download.
    if (fs.existsSync(path.join(installed, 'include', 'node', 'node_api.h'))) {
      args.push(`--nodedir=${installed}`);
    } else {
      hint =
        `; there are no Node headers in ${path.join(installed, 'include', 'node')}, so node-gyp had to download them: ` +
        'set npm_config_nodedir to a folder that has include/node, or build without --gyp, which needs none';
    }
  }
  try {
    run('node-gyp', [...args, '--', '-Dwarnings_as_errors=1']);
  } catch (error) {
    throw new BuildError(error.message + hint);
  }
}

/** A binary that loads here may still be refused by the loader: ask a process that may die. */
function tryToLoad() {
  if (!fs.existsSync(addon)) {
    throw new BuildError(`the build ended without an error, but ${addon} is not there`);
  }
  run('loading the addon', ['-e', 'require(process.argv[1])', addon]);
}

function main(args) {
  const unknown = args.filter((arg) => arg !== '--gyp' && arg !== '--check');
  if (unknown.length > 0) {
    throw new BuildError(`unknown argument ${unknown.join(' ')}; there are --gyp and --check`);
  }
  const withGyp = args.includes('--gyp');
  const tool = withGyp ? 'node-gyp' : 'cmake-js';
  const missing = missingTools(withGyp);
  if (missing.length > 0) {
    throw new BuildError(`the addon cannot be built with ${tool} on this host: install ${missing.join(', and ')}`);
  }
  if (args.includes('--check')) {
    console.log(`the addon can be built with ${tool} on this host`);
    return;
  }
  if (withGyp) {
    buildWithGyp();
  } else {
    buildWithCmake();
  }
  tryToLoad();
  console.log(`built ${path.relative(root, addon)} with ${tool}`);
}

try {
  main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof BuildError)) {
    throw error;
  }
  console.error(`build-native: ${error.message}`);
  process.exitCode = 1;
}

#!/usr/bin/env node
'use strict';

// Builds the addon, llm_datadist.node, and its bridge to the vendor's library, llm_datadist_bridge.so.
//
//   node scripts/build-native.js [OPTION...]
//
//     --out DIR         where the two go; build/Release, where the package looks for them, or build/Debug by default.
//                       What the build tool needs for itself is below DIR
//     --gyp             with node-gyp, for hosts that have no CMake; else with CMake, through cmake-js
//     --debug           without optimisation
//     --sanitize LIST   with sanitizers of GCC: address, leak, thread, undefined; separated by commas; needs --out
//     --arch ARCH       for another processor: x64 or arm64; needs --out
//     --check           only says whether this host has the tools

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { ElfError, readElf } = require('./elf');
const { withLock } = require('./file-lock');
const { TARGETS, compilerFor, missingTools } = require('./native-tools');
const { SANITIZERS, SanitizerError, sanitizedEnvironment } = require('./sanitizers');

const root = path.resolve(__dirname, '..');

const ADDON = 'llm_datadist.node';
const BRIDGE = 'llm_datadist_bridge.so';

/** What each must export to be of use. */
const ENTRIES = new Map([
  [ADDON, 'napi_register_module_v1'],
  [BRIDGE, 'llm_datadist_bridge'],
]);

class BuildError extends Error {}

/** The path of a development dependency's program. */
function programOf(name, program) {
  const manifest = path.join(root, 'node_modules', name, 'package.json');
  if (!fs.existsSync(manifest)) {
    throw new BuildError(`${name} is not installed in ${path.join(root, 'node_modules')}: run \`npm ci\` first`);
  }
  return path.join(path.dirname(manifest), program);
}

function run(what, args, { env = {}, ...options } = {}) {
  const all = { cwd: root, stdio: 'inherit', ...options, env: { ...process.env, ...env } };
  const result = spawnSync(process.execPath, args, all);
  if (result.status !== 0) {
    const how = result.error?.message ?? (result.signal === null ? `exit code ${result.status}` : result.signal);
    throw new BuildError(`${what} failed (${how}); its own messages are above`);
  }
}

/** An empty folder for a build tool, or the one of the last time when that was asked for the same. */
function treeFor(folder, request) {
  const file = path.join(folder, 'request.json');
  const text = JSON.stringify(request);
  if (!fs.existsSync(file) || fs.readFileSync(file, 'utf8') !== text) {
    fs.rmSync(folder, { recursive: true, force: true });
    fs.mkdirSync(folder, { recursive: true });
    fs.writeFileSync(file, text);
  }
  return folder;
}

/** @returns the folder that the tool put the binaries into */
function buildWithCmake({ out, config, arch, sanitize, compiler }) {
  const cmakeJs = programOf('cmake-js', 'bin/cmake-js');
  const { CXXFLAGS, LDFLAGS } = process.env;
  const tree = treeFor(path.join(out, 'cmake'), { arch, compiler, CXXFLAGS, LDFLAGS, sanitize });
  const common = ['--log-level', 'warn', '--out', tree, ...(config === 'Debug' ? ['--debug'] : [])];
  const defines = [
    'LLM_DATADIST_WERROR=ON',
    `LLM_DATADIST_SANITIZE=${sanitize.join(',')}`,
    ...(arch === process.arch ? [] : ['CMAKE_SYSTEM_NAME=Linux', `CMAKE_SYSTEM_PROCESSOR=${TARGETS.get(arch)}`]),
  ];
  // CMake takes the compiler from the environment, arguments and all. `build` alone ignores the options when an earlier
  // configuration is there.
  run('cmake-js configure', [cmakeJs, 'configure', ...common, ...defines.map((each) => `--CD${each}`)], {
    env: { CXX: compiler },
  });
  run('cmake-js build', [cmakeJs, 'build', ...common, '--parallel', String(os.availableParallelism())]);
  return path.join(tree, config);
}

/** node-gyp empties build/ in the folder that it works in, so it gets one with links to what it reads. */
function buildWithGyp({ out, config, arch, sanitize, compiler }) {
  const nodeGyp = programOf('node-gyp', 'bin/node-gyp.js');
  const { CXXFLAGS, LDFLAGS } = process.env;
  const tree = treeFor(path.join(out, 'gyp'), { arch, compiler, CXXFLAGS, LDFLAGS, sanitize });
  for (const name of ['binding.gyp', 'native', 'node_modules', 'package.json']) {
    fs.rmSync(path.join(tree, name), { force: true });
    fs.symlinkSync(path.join(root, name), path.join(tree, name));
  }
  const common = ['--loglevel', 'warn', `--arch=${arch}`, config === 'Debug' ? '--debug' : '--release'];
  const headers = nodeHeaders();
  const defines = ['-Dwarnings_as_errors=1', `-Dsanitize=${sanitize.join(',')}`];
  const options = { cwd: tree, env: { CXX: compiler } };
  try {
    run('node-gyp configure', [nodeGyp, 'configure', ...common, ...headers.args, '--', ...defines], options);
    run('node-gyp build', [nodeGyp, 'build', ...common, '--jobs', 'max'], options);
  } catch (error) {
    throw new BuildError(error.message + headers.hint);
  }
  return path.join(tree, 'build', config);
}

/** What node-gyp is told about Node's headers, and what to say when that did not help. */
function nodeHeaders() {
  if (process.env.npm_config_nodedir !== undefined) return { args: [], hint: '' };
  const installed = path.resolve(process.execPath, '../..');
  const folder = path.join(installed, 'include', 'node');
  // The headers of the Node that runs this script need no download.
  if (fs.existsSync(path.join(folder, 'node_api.h'))) return { args: [`--nodedir=${installed}`], hint: '' };
  const hint =
    `; there are no Node headers in ${folder}, so node-gyp had to download them: ` +
    'set npm_config_nodedir to a folder that has include/node, or build without --gyp, which needs none';
  return { args: [], hint };
}

/** Puts a binary into its place in one step: processes that have loaded the old one keep it. */
function install(from, to) {
  if (!fs.existsSync(from)) throw new BuildError(`the build ended without an error, but ${from} is not there`);
  if (fs.existsSync(to) && fs.readFileSync(to).equals(fs.readFileSync(from))) return;
  const unfinished = `${to}.${process.pid}`;
  fs.copyFileSync(from, unfinished);
  fs.renameSync(unfinished, to);
}

/** A binary that was linked may still be of no use, or be refused by the loader. */
function examine({ out, arch, sanitize, compiler }) {
  for (const [name, entry] of ENTRIES) {
    const { machine, exported } = readElf(path.join(out, name));
    if (machine !== arch) throw new BuildError(`${name} was built for ${machine}, not for ${arch}: look at CXX`);
    if (!exported.includes(entry)) throw new BuildError(`${name} does not export ${entry}`);
  }
  if (arch !== process.arch) return ` (for ${arch}: not loaded on this host, which is ${process.arch})`;
  const quiet = { ASAN_OPTIONS: { detect_leaks: 0 }, LSAN_OPTIONS: { detect_leaks: 0 } };
  const env = sanitize.length > 0 ? sanitizedEnvironment(sanitize, compiler, quiet) : {};
  // In a process of its own, which may die of it.
  run('loading the addon', ['-e', 'require(process.argv[1])', path.join(out, ADDON)], { env });
  return env.LD_PRELOAD === undefined ? '' : ` (loads with LD_PRELOAD=${env.LD_PRELOAD})`;
}

function build(request) {
  fs.mkdirSync(request.out, { recursive: true });
  const folder = request.withGyp ? buildWithGyp(request) : buildWithCmake(request);
  for (const name of ENTRIES.keys()) install(path.join(folder, name), path.join(request.out, name));
  const remark = examine(request);
  const where = path.relative(root, request.out);
  console.log(`built ${ADDON} and ${BRIDGE} in ${where} with ${request.tool}${remark}`);
}

function requestOf(args) {
  const { values } = parseArgs({
    args,
    options: {
      arch: { type: 'string', default: process.arch },
      check: { type: 'boolean', default: false },
      debug: { type: 'boolean', default: false },
      gyp: { type: 'boolean', default: false },
      out: { type: 'string' },
      sanitize: { type: 'string', default: '' },
    },
  });
  const { arch, check, debug, gyp: withGyp, out } = values;
  const sanitize = values.sanitize === '' ? [] : values.sanitize.split(',');
  const unknown = sanitize.filter((each) => !SANITIZERS.includes(each));
  if (unknown.length > 0) {
    throw new BuildError(`there is no sanitizer ${unknown.join(', ')}; there are ${SANITIZERS.join(', ')}`);
  }
  if (arch !== process.arch && !TARGETS.has(arch)) {
    throw new BuildError(`there is no build for ${arch}; there are ${[...TARGETS.keys()].join(', ')}`);
  }
  if (out === undefined && (arch !== process.arch || sanitize.length > 0)) {
    throw new BuildError('such a build needs --out DIR, because the package would load what is in build/Release');
  }
  const config = debug ? 'Debug' : 'Release';
  return {
    arch,
    check,
    config,
    out: out === undefined ? path.join(root, 'build', config) : path.resolve(out),
    sanitize,
    tool: withGyp ? 'node-gyp' : 'cmake-js',
    withGyp,
  };
}

function main(args) {
  const request = requestOf(args);
  const missing = missingTools(request);
  const what = request.arch === process.arch ? 'the addon' : `the addon for ${request.arch}`;
  if (missing.length > 0) {
    throw new BuildError(
      `${what} cannot be built with ${request.tool} on this host: install ${missing.join(', and ')}`,
    );
  }
  if (request.check) {
    console.log(`${what} can be built with ${request.tool} on this host`);
    return;
  }
  // Two builds at a time, of two test runs for instance, would spoil each other's files.
  withLock(path.join(request.out, 'lock'), () => {
    build({ ...request, compiler: compilerFor(request.arch) });
  });
}

/** Errors that say all there is to say. */
function isExpected(error) {
  const own = [BuildError, ElfError, SanitizerError].some((each) => error instanceof each);
  return own || error.code?.startsWith('ERR_PARSE_ARGS') === true;
}

try {
  main(process.argv.slice(2));
} catch (error) {
  if (!isExpected(error)) throw error;
  console.error(`build-native: ${error.message}`);
  process.exitCode = 1;
}

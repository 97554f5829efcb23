#!/usr/bin/env node
'use strict';

// Runs the prebuilt arm64 binaries on another host: under qemu-user, with Node for arm64 and an arm64 stand-in.
//
//   node scripts/test-arm64.js [argument of jest, in place of the shim's tests...]
//
// Node, jest and its addons come from npm for arm64, the latter into a copy of this package in build/arm64.

const { spawnSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { ElfError } = require('./elf');
const { withLock } = require('./file-lock');
const { SHIM_TESTS, failureOf, runJest } = require('./native-tests');
const { compilerFor, hasProgram } = require('./native-tools');
const { DownloadError, nodeBinary } = require('./node-binaries');
const { PrebuildError, prebuild } = require('./prebuild');

const root = path.resolve(__dirname, '..');
const folder = path.join(root, 'build', 'arm64');
const copy = path.join(folder, 'package');

/** The libraries of Debian's cross compilers. */
const SYSROOT = '/usr/aarch64-linux-gnu';

/** What an installation for arm64 is told. */
const PLATFORM = ['--cpu=arm64', '--os=linux', '--libc=glibc'];

class RunError extends Error {}

function run(what, command, args, options = {}) {
  const failure = failureOf(spawnSync(command, args, { stdio: 'inherit', ...options }));
  if (failure !== undefined) throw new RunError(`${what} failed (${failure}); its own messages are above`);
}

/**
 * A program that runs Node in the emulator. Node starts other Nodes by the path that it believes to be its own, which the
 * kernel of this host cannot run: `require` has it believe in this program instead.
 */
function emulatedNode() {
  const program = path.join(folder, 'node');
  const node = nodeBinary('20', 'arm64');
  const script = `#!/bin/sh\nexec qemu-aarch64 -L ${SYSROOT} '${node}' --require '${copy}/scripts/exec-path.js' "$@"\n`;
  fs.writeFileSync(program, script, { mode: 0o755 });
  return program;
}

/** A copy of this package with what npm installs on arm64. */
function copyPackage() {
  const left = new Set(['.git', 'build', 'coverage', 'dist', 'node_modules', 'prebuilds']);
  const lock = fs.readFileSync(path.join(root, 'package-lock.json'));
  const stamp = path.join(folder, 'installed');
  const wanted = createHash('sha256').update(lock).digest('hex');
  fs.mkdirSync(copy, { recursive: true });
  for (const name of fs.readdirSync(copy)) {
    if (name !== 'node_modules' && name !== 'build') fs.rmSync(path.join(copy, name), { recursive: true });
  }
  for (const name of fs.readdirSync(root)) {
    if (!left.has(name)) fs.cpSync(path.join(root, name), path.join(copy, name), { recursive: true });
  }
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === wanted) return;
  fs.rmSync(stamp, { force: true });
  run('npm ci for arm64', 'npm', ['ci', ...PLATFORM, '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: copy });
  fs.writeFileSync(stamp, wanted);
}

function main(args) {
  const compiler = compilerFor('arm64');
  const missing = [
    ...(compiler === undefined ? ['g++-aarch64-linux-gnu'] : []),
    ...(hasProgram('qemu-aarch64') ? [] : ['qemu-user']),
  ];
  if (missing.length > 0) throw new RunError(`arm64 cannot be run on this host: apt-get install ${missing.join(' ')}`);
  const addon = path.join(prebuild('arm64'), 'llm_datadist.node');
  fs.mkdirSync(folder, { recursive: true });
  copyPackage();
  const node = emulatedNode();
  const env = { CXX: compiler, LLM_DATADIST_ADDON: addon, DATADIST_TEST_EXEC_PATH: node };
  const standIn = path.join(copy, 'build', 'standin-aarch64');
  run('building the stand-in', process.execPath, [path.join(copy, 'test/native/standin/build.js')], {
    env: { ...process.env, ...env, LLM_DATADIST_ADDON: '' },
  });
  const library = path.join(standIn, 'lib64', 'libllm_datadist.so');
  const withLibrary = { ...env, LLM_DATADIST_LIBRARY: library };
  run('compiling the package', 'npm', ['run', 'build', '--silent'], { cwd: root });
  run('loading the addon and probing the library', node, ['-e', PROBE, path.join(root, 'dist')], {
    env: { ...process.env, ...withLibrary },
  });
  const tests = args.length > 0 ? args : [SHIM_TESTS];
  const failure = failureOf(runJest({ node, args: tests, env: withLibrary, folder: copy }));
  if (failure !== undefined) throw new RunError(`the tests failed on arm64 (${failure})`);
}

const PROBE = `
  const probe = require(process.argv[1]).probeNative();
  console.log(process.arch, process.version, probe);
  if (process.arch !== 'arm64' || !probe.available) process.exit(1);
`;

try {
  withLock(path.join(folder, 'lock'), () => {
    main(process.argv.slice(2));
  });
} catch (error) {
  if (![DownloadError, ElfError, PrebuildError, RunError].some((each) => error instanceof each)) throw error;
  console.error(`test-arm64: ${error.message}`);
  process.exitCode = 1;
}

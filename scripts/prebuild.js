#!/usr/bin/env node
'use strict';

// Makes the binaries that the package brings along: prebuilds/linux-x64 and prebuilds/linux-arm64, each with the addon and
// its bridge, stripped, and fit for every host that Node itself runs on.
//
//   node scripts/prebuild.js     fails where one of them cannot be made, and so does `npm pack`, which runs it
//
// With LLM_DATADIST_PREBUILD=available it makes those that there is a compiler for and says which one is left out: for a
// package that is tried on this machine, never for one that is published.
//
// npm runs a script of the name `prebuild` before each `npm run build` as well. So package.json leaves that one empty and
// hangs the work on `preprebuild`, which npm runs only where `npm run prebuild` is asked for.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { newerThanFloor, newestVersions } = require('./check-glibc');
const { readElf } = require('./elf');
const { TARGETS, missingTools } = require('./native-tools');

const root = path.resolve(__dirname, '..');
const BINARIES = ['llm_datadist.node', 'llm_datadist_bridge.so'];

class PrebuildError extends Error {}

function folderFor(arch) {
  return path.join(root, 'prebuilds', `linux-${arch}`);
}

/** What is wrong with a folder of binaries for a processor, one line each. */
function prebuildProblems(folder, arch) {
  return BINARIES.flatMap((name) => {
    const file = path.join(folder, name);
    if (!fs.existsSync(file)) return [`${name} is missing`];
    const { machine, isStripped } = readElf(file);
    return [
      ...(machine === arch ? [] : [`${name} is for ${machine}, not for ${arch}`]),
      ...(isStripped ? [] : [`${name} is not stripped`]),
      ...newerThanFloor(file).map((problem) => `${name} ${problem}`),
    ];
  });
}

/**
 * Makes the binaries for one processor.
 *
 * @returns the folder that they are in
 * @throws PrebuildError
 */
function prebuild(arch) {
  const built = path.join(root, 'build', `prebuild-${arch}`);
  const script = path.join(__dirname, 'build-native.js');
  const { status } = spawnSync(process.execPath, [script, '--arch', arch, '--out', built], {
    stdio: 'inherit',
    env: { ...process.env, CXXFLAGS: '', LDFLAGS: '-s' },
  });
  if (status !== 0) throw new PrebuildError(`the build for ${arch} failed; its own messages are above`);
  const problems = prebuildProblems(built, arch);
  if (problems.length > 0)
    throw new PrebuildError(`the build for ${arch} is not fit for others:\n${problems.join('\n')}`);
  const folder = folderFor(arch);
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  for (const name of BINARIES) fs.copyFileSync(path.join(built, name), path.join(folder, name));
  return folder;
}

/**
 * The processors to make binaries for, and why each other one is left out.
 *
 * @returns `wanted`, and `leftOut` by processor
 * @throws PrebuildError
 */
function planned(env = process.env) {
  const { LLM_DATADIST_PREBUILD: choice = '', npm_command: command } = env;
  if (!['', 'available'].includes(choice)) {
    throw new PrebuildError(`LLM_DATADIST_PREBUILD is ${JSON.stringify(choice)}; it is \`available\` or not set`);
  }
  const leftOut = new Map();
  for (const arch of TARGETS.keys()) {
    const missing = missingTools({ arch });
    if (missing.length > 0) leftOut.set(arch, `install ${missing.join(', and ')}`);
  }
  const wanted = [...TARGETS.keys()].filter((arch) => !leftOut.has(arch));
  if (leftOut.size === 0) return { wanted, leftOut };
  const reasons = Array.from(leftOut, ([arch, reason]) => `linux-${arch} cannot be made on this host: ${reason}`);
  if (choice === '') {
    reasons.push(
      'To pack without it, for a trial on this machine only, set LLM_DATADIST_PREBUILD=available. To compile without packing, ' +
        'use `npm run build`.',
    );
    throw new PrebuildError(reasons.join('\n'));
  }
  if (command === 'publish') {
    throw new PrebuildError(
      ['LLM_DATADIST_PREBUILD=available is not for a package that is published:', ...reasons].join('\n'),
    );
  }
  if (wanted.length === 0) throw new PrebuildError(['there is nothing to make:', ...reasons].join('\n'));
  return { wanted, leftOut };
}

function main(args) {
  if (args.length > 0) throw new PrebuildError(`unknown argument ${args.join(' ')}; there is none`);
  const { wanted, leftOut } = planned();
  for (const arch of wanted) {
    const folder = prebuild(arch);
    const needs = new Set(BINARIES.flatMap((name) => newestVersions(path.join(folder, name))));
    console.log(`made ${path.relative(root, folder)}: needs ${[...needs].sort().join(', ')}`);
  }
  for (const [arch, reason] of leftOut) {
    // What is there would be older than the sources.
    fs.rmSync(folderFor(arch), { recursive: true, force: true });
    console.error(
      `prebuild: LEFT OUT, so do not publish this package: linux-${arch} cannot be made on this host: ${reason}`,
    );
  }
}

module.exports = { BINARIES, PrebuildError, planned, prebuild, prebuildProblems };

if (require.main === module) {
  try {
    main(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof PrebuildError)) throw error;
    console.error(`prebuild: ${error.message}`);
    process.exitCode = 1;
  }
}

#!/usr/bin/env node
'use strict';

// Makes the binaries that the package brings along: prebuilds/linux-x64 and prebuilds/linux-arm64, each with the addon and
// its bridge, stripped, and fit for every host that Node itself runs on.
//
//   node scripts/prebuild.js               both; fails where one of them cannot be made
//   node scripts/prebuild.js --available   those that there is a compiler for, and says which one is left out
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

function main(args) {
  const unknown = args.filter((arg) => arg !== '--available');
  if (unknown.length > 0) throw new PrebuildError(`unknown argument ${unknown.join(' ')}; there is --available`);
  for (const arch of TARGETS.keys()) {
    const missing = missingTools({ arch });
    if (missing.length > 0) {
      const reason = `linux-${arch} cannot be made on this host: install ${missing.join(', and ')}`;
      if (!args.includes('--available')) throw new PrebuildError(reason);
      // What is there would be older than the sources.
      fs.rmSync(folderFor(arch), { recursive: true, force: true });
      console.error(`prebuild: LEFT OUT: ${reason}`);
      continue;
    }
    const folder = prebuild(arch);
    const needs = new Set(BINARIES.flatMap((name) => newestVersions(path.join(folder, name))));
    console.log(`made ${path.relative(root, folder)}: needs ${[...needs].sort().join(', ')}`);
  }
}

module.exports = { BINARIES, PrebuildError, prebuild, prebuildProblems };

if (require.main === module) {
  try {
    main(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof PrebuildError)) throw error;
    console.error(`prebuild: ${error.message}`);
    process.exitCode = 1;
  }
}

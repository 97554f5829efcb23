#!/usr/bin/env node
'use strict';

// Runs `npm run build`, and says so before it starts; does nothing when dist/ was made from the very files that are there.
//
//   node scripts/build-if-changed.js

const { spawnSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const root = path.resolve(__dirname, '..');
const stamp = path.join(root, 'build', 'compiled');

/** All that the build reads; a compiler counts by its version. */
const INPUTS = [
  'lib',
  'package.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'scripts/write-esm-doors.js',
  'scripts/pack-scenarios.js',
  'test/conformance',
  'node_modules/typescript/package.json',
];

function filesOf(input) {
  const place = path.join(root, input);
  const stat = fs.statSync(place, { throwIfNoEntry: false });
  if (stat === undefined) return [];
  if (!stat.isDirectory()) return [input];
  const names = fs.readdirSync(place, { recursive: true, encoding: 'utf8' }).sort();
  return names.map((name) => path.join(input, name)).filter((name) => fs.statSync(path.join(root, name)).isFile());
}

/** Differs when a file was changed, added, renamed or removed. */
function digest() {
  const hash = createHash('sha256');
  for (const name of INPUTS.flatMap(filesOf)) {
    const contents = fs.readFileSync(path.join(root, name));
    hash.update(`${name}\0${contents.length}\0`).update(contents);
  }
  return hash.digest('hex');
}

function isBuilt(wanted) {
  if (!fs.existsSync(path.join(root, 'dist', 'index.mjs')) || !fs.existsSync(stamp)) return false;
  return fs.readFileSync(stamp, 'utf8') === wanted;
}

function main() {
  const wanted = digest();
  if (isBuilt(wanted)) return;
  console.error('Compiling the package, which takes some seconds; it is done again only when a source has changed.');
  // A build that is broken off leaves no stamp.
  fs.rmSync(stamp, { force: true });
  const { status, error } = spawnSync('npm', ['run', 'build', '--silent'], { cwd: root, stdio: 'inherit' });
  if (status !== 0) {
    console.error(
      `build-if-changed: the package could not be compiled${error === undefined ? '' : `: ${error.message}`}`,
    );
    process.exitCode = 1;
    return;
  }
  fs.mkdirSync(path.dirname(stamp), { recursive: true });
  fs.writeFileSync(stamp, wanted);
}

main();

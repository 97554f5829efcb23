#!/usr/bin/env node
'use strict';

// Runs the shim's tests on other versions of Node, all over the same binary.
//
//   node scripts/test-node.js [MAJOR...]     22 and 24 without an argument

const { spawnSync } = require('node:child_process');
const path = require('node:path');
const { SHIM_TESTS, failureOf, runJest } = require('./native-tests');
const { DownloadError, nodeBinary } = require('./node-binaries');

const root = path.resolve(__dirname, '..');
const addon = path.join(root, 'build', 'Release', 'llm_datadist.node');

class RunError extends Error {}

function main(majors) {
  const built = failureOf(spawnSync(process.execPath, [path.join(__dirname, 'build-native.js')], { stdio: 'inherit' }));
  if (built !== undefined) throw new RunError(`the addon could not be built (${built})`);
  for (const major of majors) {
    const node = nodeBinary(major, process.arch);
    const { stdout } = spawnSync(node, ['--version'], { encoding: 'utf8' });
    console.log(`Node ${stdout.trim()} over the addon that ${process.version} built`);
    const failure = failureOf(runJest({ node, args: [SHIM_TESTS], env: { LLM_DATADIST_ADDON: addon } }));
    if (failure !== undefined) throw new RunError(`the tests failed on Node ${major} (${failure})`);
  }
}

try {
  const majors = process.argv.slice(2);
  main(majors.length > 0 ? majors : ['22', '24']);
} catch (error) {
  if (!(error instanceof RunError) && !(error instanceof DownloadError)) throw error;
  console.error(`test-node: ${error.message}`);
  process.exitCode = 1;
}

#!/usr/bin/env node
'use strict';

// Packs the scenarios of test/conformance, one per line, into dist/conformance/scenarios.jsonl.gz: a tenth of their size.
//
//   node scripts/pack-scenarios.js [folder of the package]

const fs = require('node:fs');
const path = require('node:path');
const { gzipSync } = require('node:zlib');

const root = path.resolve(process.argv[2] ?? path.join(__dirname, '..'));
const source = path.join(root, 'test', 'conformance');

/** Their texts stay as they are, because a number may have more digits than JavaScript keeps. No text spans lines. */
function scenarioLines() {
  const folder = path.join(source, 'recordings', 'scenarios');
  const names = fs.readdirSync(folder).filter((name) => name.endsWith('.json'));
  const byHand = names.sort().map((name) => fs.readFileSync(path.join(folder, name), 'utf8'));
  const lists = ['recordings/random.jsonl', 'differential.jsonl'].map((name) =>
    fs.readFileSync(path.join(source, name), 'utf8'),
  );
  return [...byHand.map((json) => json.replace(/\s*\n\s*/g, ' ').trim()), ...lists.flatMap((list) => list.split('\n'))];
}

try {
  const lines = scenarioLines().filter((line) => line.trim() !== '');
  const target = path.join(root, 'dist', 'conformance', 'scenarios.jsonl.gz');
  fs.writeFileSync(target, gzipSync(lines.map((line) => `${line}\n`).join(''), { level: 9 }));
} catch (error) {
  console.error(`pack-scenarios: ${error.message}`);
  process.exitCode = 1;
}

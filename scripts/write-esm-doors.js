#!/usr/bin/env node
'use strict';

// Writes the ES module doors of the built package: for every entry point of package.json's exports an .mjs and a .d.mts
// that re-export the CommonJS module, so that import and require() hand out the same classes.
//
//   node scripts/write-esm-doors.js [folder of the package]

const fs = require('node:fs');
const path = require('node:path');

const root = path.resolve(process.argv[2] ?? path.join(__dirname, '..'));

/** The entry points that have both doors: the CommonJS file and the ES module file, relative to the package. */
function doorsOf(manifest) {
  return Object.values(manifest.exports)
    .filter((entry) => typeof entry === 'object' && entry !== null && 'import' in entry)
    .map((entry) => ({ cjs: entry.require.default, esm: entry.import.default, types: entry.import.types }));
}

function writeDoor({ cjs, esm, types }) {
  const built = path.join(root, cjs);
  if (!fs.existsSync(built)) {
    throw new Error(`${cjs} is not there: build the CommonJS modules first (tsc -p tsconfig.build.json)`);
  }
  // Node finds the names of a CommonJS module by scanning its text, which misses some; here they are spelled out.
  const names = Object.keys(require(built)).filter((name) => name !== 'default');
  if (names.length === 0) {
    throw new Error(`${cjs} exports nothing, so ${esm} would be empty`);
  }
  const from = `./${path.basename(cjs)}`;
  const list = names.map((name) => `  ${name},\n`).join('');
  const code = `import cjs from '${from}';\n\nexport const {\n${list}} = cjs;\nexport default cjs;\n`;
  const declarations = `import cjs from '${from}';\n\nexport * from '${from}';\nexport default cjs;\n`;
  fs.writeFileSync(path.join(root, esm), code);
  fs.writeFileSync(path.join(root, types), declarations);
}

try {
  for (const door of doorsOf(JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')))) {
    writeDoor(door);
  }
} catch (error) {
  console.error(`write-esm-doors: ${error.message}`);
  process.exitCode = 1;
}

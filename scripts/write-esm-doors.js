#!/usr/bin/env node
'use strict';

// Writes the ES module doors of the built package: for every entry point of package.json's exports an .mjs and a .d.mts
// that re-export the CommonJS module, so that import and require() hand out the same classes. And makes the modules find
// Node's built-in ones where there is no require(): in an ES module that esbuild bundles.
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

/**
 * Node 20.16 and 22.3 or later hand out their built-in modules without require(). Lines stay where they are, for the
 * source maps.
 */
function freeBuiltins(file) {
  const code = fs.readFileSync(file, 'utf8');
  const free = code.replaceAll(
    /(?<!\?\? )\brequire\("(node:[\w/]+)"\)/g,
    '(process.getBuiltinModule?.("$1") ?? require("$1"))',
  );
  if (free !== code) fs.writeFileSync(file, free);
}

/** The CommonJS modules of the package: all that is beside and below the main one. */
function modulesOf(manifest) {
  const folder = path.dirname(path.join(root, manifest.main));
  return fs
    .readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.js'))
    .map((name) => path.join(folder, name));
}

try {
  const manifest = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
  for (const door of doorsOf(manifest)) writeDoor(door);
  for (const module of modulesOf(manifest)) freeBuiltins(module);
} catch (error) {
  console.error(`write-esm-doors: ${error.message}`);
  process.exitCode = 1;
}

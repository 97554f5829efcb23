'use strict';

// The files of the tarball, as they lie in a consumer's node_modules.

const fs = require('node:fs');
const path = require('node:path');
const { TARGETS } = require('../native-tools');
const { BINARIES, prebuildProblems } = require('../prebuild');
const { fail } = require('./report');

/** What npm packs whether it is listed or not. */
const ALWAYS = ['LICENSE', 'README.md', 'package.json'];

/** What `npm run build` writes besides modules; see pack-scenarios.js. */
const PACKED_SCENARIOS = 'dist/conformance/scenarios.jsonl.gz';

/** What makes package managers run a compiler at install, and what only a compiler reads. */
const BUILD_INPUT = /(^|\/)(binding\.gyp|CMakeLists\.txt|Makefile)$|\.(gypi?|cc|cpp|h|hpp|cmake)$/;

function filesBelow(folder) {
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.relative(folder, path.join(entry.parentPath ?? entry.path, entry.name)))
    .map((name) => name.split(path.sep).join('/'))
    .sort();
}

/** The files at fixed places: what npm always packs, and those that package.json lists by name. */
function namedFiles({ files }) {
  return [...ALWAYS, PACKED_SCENARIOS, ...files.filter((name) => path.extname(name) !== '')];
}

/** Why a file does not belong into the tarball, or undefined. */
function objection({ root, manifest, entryPoints }, name) {
  if (BUILD_INPUT.test(name)) return 'nothing can be built from the tarball, and package managers would try to';
  if (namedFiles(manifest).includes(name)) return undefined;
  const [, processor, binary] = /^prebuilds\/linux-(\w+)\/([^/]+)$/.exec(name) ?? [];
  if (TARGETS.has(processor) && BINARIES.includes(binary)) return undefined;
  const door = /^dist\/.*\.(mjs|d\.mts)$/.test(name);
  const module = /^dist\/(?<stem>.*)\.(js|js\.map|d\.ts)$/.exec(name)?.groups.stem;
  if (door) {
    const named = entryPoints.some(({ entry }) => Object.values(entry.import).includes(`./${name}`));
    return named ? undefined : 'no entry point of package.json names it';
  }
  if (module === undefined) return 'not on the list of files that are published';
  const source = `lib/${module}.ts`;
  return fs.existsSync(path.join(root, source)) ? undefined : `${source} is gone: remove dist/ and build again`;
}

/** Exactly the files that are meant to be published are there. */
function checkFiles(thePackage, installed) {
  const names = filesBelow(installed);
  fail([
    ...names
      .map((name) => [name, objection(thePackage, name)])
      .filter(([, why]) => why !== undefined)
      .map((pair) => pair.join(': ')),
    ...namedFiles(thePackage.manifest)
      .filter((name) => !names.includes(name))
      .map((name) => `${name}: missing`),
  ]);
}

/** @param processors whose binaries have to be there */
function checkPrebuilt(installed, processors) {
  fail(
    processors.flatMap((processor) => {
      const folder = path.join('prebuilds', `linux-${processor}`);
      return prebuildProblems(path.join(installed, folder), processor).map((problem) => `${folder}: ${problem}`);
    }),
  );
}

/** A source map leads a debugger to text that is in the tarball: embedded, or in a file beside it. */
function checkMaps(installed) {
  fail(
    filesBelow(installed)
      .filter((name) => name.endsWith('.js.map'))
      .flatMap((name) => {
        const {
          sources,
          sourceRoot = '',
          sourcesContent = [],
        } = JSON.parse(fs.readFileSync(path.join(installed, name), 'utf8'));
        return sources
          .filter((source, index) => {
            const file = path.join(installed, path.dirname(name), sourceRoot, source);
            const inside = !path.relative(installed, file).startsWith('..') && fs.existsSync(file);
            return path.isAbsolute(source) || (typeof sourcesContent[index] !== 'string' && !inside);
          })
          .map((source) => `${name}: its source ${source} is neither embedded nor published`);
      }),
  );
}

/** @param root the folder that the package was built in */
function checkPaths(installed, root) {
  fail(
    filesBelow(installed)
      .filter((name) => fs.readFileSync(path.join(installed, name), 'utf8').includes(root + path.sep))
      .map((name) => `${name}: names the folder of this machine that it was built in`),
  );
}

module.exports = { checkFiles, checkMaps, checkPaths, checkPrebuilt };

#!/usr/bin/env node
'use strict';

// Builds and packs the package, installs the tarball in empty projects and looks at it as users would.
//
//   node scripts/check-package.js [--offline] [folder of the package]
//
// Prints one row per check, then "N passed, N failed"; the exit code is 1 when a check failed. Package managers and compilers
// that the project does not have are fetched from npm's registry; --offline leaves their checks out, and says so.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { runQuietly, runWell } = require('./check-package/command');
const { consumerPrograms } = require('./check-package/first-program');
const { checkJest29 } = require('./check-package/jest29');
const { checkFiles, checkMaps, checkPaths, checkPrebuilt } = require('./check-package/package-files');
const { MANAGERS, checkManager, configuredRegistry } = require('./check-package/package-managers');
const { check, count, fail } = require('./check-package/report');
const { COMPILERS, RESOLUTIONS, checkMatcherTypes, checkTsJest, checkTypes } = require('./check-package/types');
const { TARGETS } = require('./native-tools');
const { planned } = require('./prebuild');

const tools = path.resolve(__dirname, '..', 'node_modules');

/** What a package has to have, unless LLM_DATADIST_PREBUILD asks for less; see prebuild.js. */
const EVERY_PROCESSOR = { wanted: [...TARGETS.keys()], leftOut: [] };

/** What package.json says that the checks need. */
function readPackage(root) {
  const manifest = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
  const entryPoints = Object.entries(manifest.exports)
    .filter(([, entry]) => typeof entry === 'object')
    .map(([subPath, entry]) => ({ name: path.posix.join(manifest.name, subPath), entry }));
  return { root, manifest, entryPoints };
}

function pack(root, folder) {
  runWell('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], root);
  const tarball = fs.readdirSync(folder).find((name) => name.endsWith('.tgz'));
  return path.join(folder, tarball);
}

function install(tarball, project) {
  fs.mkdirSync(project);
  fs.writeFileSync(path.join(project, 'package.json'), '{ "name": "consumer", "private": true }\n');
  const quiet = ['--no-audit', '--no-fund', '--no-update-notifier', '--offline'];
  runWell('npm', ['install', tarball, '--prefix', project, ...quiet], project);
}

/** Nothing may run at install, and nothing may come along. */
function checkInstalled(project, { name }) {
  const lock = JSON.parse(fs.readFileSync(path.join(project, 'package-lock.json'), 'utf8'));
  const { [`node_modules/${name}`]: own, ...others } = lock.packages;
  const more = Object.keys(others).filter((key) => key !== '');
  fail([
    ...(own.hasInstallScript ? ['npm runs a script at install'] : []),
    ...more.map((key) => `the package brings ${key} along: it must have no runtime dependency`),
  ]);
}

/** A host without a compiler, and without anything else, has what the tarball brings along. */
function checkAddonLoads(project, installed, { name }) {
  const expected = path.join(installed, 'prebuilds', `${process.platform}-${process.arch}`, 'llm_datadist.node');
  runQuietly(
    project,
    'commonjs',
    `const { addonPath, attempts } = require(${JSON.stringify(name)}).probeNative();
     if (addonPath !== ${JSON.stringify(expected)}) console.log('the addon is', addonPath, attempts);`,
    { PATH: '', LLM_DATADIST_ADDON: undefined },
  );
}

function checkSameObjects(project, name) {
  const specifier = JSON.stringify(name);
  runQuietly(
    project,
    'module',
    `import { createRequire } from 'node:module';
     import * as esm from ${specifier};
     const cjs = createRequire(process.cwd() + '/')(${specifier});
     const names = new Set([...Object.keys(cjs), ...Object.keys(esm)].filter((key) => key !== 'default'));
     const different = [...names].filter((key) => !(key in cjs) || !(key in esm) || !Object.is(cjs[key], esm[key]));
     if (esm.default !== cjs) different.push('default');
     if (different.length > 0) console.log('not the same object from import and from require(): ' + different.join(', '));`,
  );
}

/** What tools of the registry say about a tarball. */
function checkTarball(root, tarball) {
  check('publint, strict', () =>
    runWell(process.execPath, [path.join(tools, 'publint/src/cli.js'), 'run', tarball, '--strict'], root),
  );
  check('are the types wrong: node10, node16 from CommonJS, node16 from ESM, bundler', () =>
    runWell(
      process.execPath,
      [path.join(tools, '@arethetypeswrong/cli/dist/index.js'), tarball, '--profile', 'strict', '--format', 'ascii'],
      root,
    ),
  );
}

/** What is in the tarball. */
function checkContents(thePackage, project, installed) {
  const { root, manifest } = thePackage;
  check('nothing runs at install and nothing comes along', () => checkInstalled(project, manifest));
  check('the files are those that are meant to be published', () => checkFiles(thePackage, installed));
  const { wanted, leftOut } = process.env.LLM_DATADIST_PREBUILD === 'available' ? planned() : EVERY_PROCESSOR;
  for (const [arch, reason] of leftOut) console.log(`NOT CHECKED: the binaries of linux-${arch}: ${reason}`);
  check('the prebuilt binaries are there for each processor, and load wherever Node does', () =>
    checkPrebuilt(installed, wanted),
  );
  check('the prebuilt addon is found and loaded, without a compiler', () =>
    checkAddonLoads(project, installed, manifest),
  );
  check('source maps lead to published text', () => checkMaps(installed));
  check('no file names a folder of this machine', () => checkPaths(installed, root));
}

/** What programs of users get. */
function checkUse({ manifest, entryPoints }, project) {
  for (const { name } of entryPoints) {
    check(`require('${name}')`, () => runQuietly(project, 'commonjs', `require(${JSON.stringify(name)});`));
    check(`import('${name}')`, () => runQuietly(project, 'module', `await import(${JSON.stringify(name)});`));
    check(`${name}: import and require() give the same objects`, () => checkSameObjects(project, name));
  }
  const hasMatchers = entryPoints.some(({ name }) => name.endsWith('/testing/jest'));
  for (const resolution of RESOLUTIONS) {
    check(`a TypeScript consumer compiles: ${resolution.name}`, () => checkTypes(project, manifest.name, resolution));
    if (!hasMatchers || resolution.name === 'bundler') continue;
    check(`a test with the matchers compiles: ${resolution.name}`, () =>
      checkMatcherTypes(project, manifest.name, resolution),
    );
  }
}

/** What needs programs that are fetched. */
function checkElsewhere({ manifest, entryPoints }, folder, tarball, installed) {
  const names = entryPoints.map(({ name }) => name);
  for (const version of COMPILERS) {
    for (const resolution of RESOLUTIONS) {
      check(`TypeScript ${version}: ${resolution.name}`, () =>
        checkTypes(path.join(folder, 'project'), manifest.name, resolution, version),
      );
    }
  }
  check('ts-jest as it is set up by default', () =>
    checkTsJest(installed, path.join(folder, 'ts-jest'), manifest.name),
  );
  check('workers of jest 29 report failing tests that hold bigints', () =>
    checkJest29(installed, path.join(folder, 'jest29'), manifest.name),
  );
  const programs = check('the first program of the README compiles', () => consumerPrograms(installed, names));
  const registry = check('npm has a registry', () => configuredRegistry(folder));
  if (programs === undefined || registry === undefined) return;
  for (const [index, manager] of MANAGERS.entries()) {
    check(`${manager.name}: installs, again from its lock file, builds nothing, and the first program runs`, () =>
      checkManager(manager, path.join(folder, `manager-${index}`), {
        name: manifest.name,
        tarball,
        programs,
        registry,
      }),
    );
  }
}

function checkPackage(thePackage, folder, isOffline) {
  const { root, manifest } = thePackage;
  const project = path.join(folder, 'project');
  const installed = path.join(project, 'node_modules', manifest.name);
  check('npm run build', () => runWell('npm', ['run', 'build'], root));
  check('npm run prebuild', () => runWell('npm', ['run', 'prebuild'], root));
  const tarball = check('npm pack', () => pack(root, folder));
  if (tarball === undefined) return;
  checkTarball(root, tarball);
  check('the tarball installs offline in an empty project', () => install(tarball, project));
  if (!fs.existsSync(installed)) return;
  checkContents(thePackage, project, installed);
  checkUse(thePackage, project);
  if (isOffline) {
    const left = [`TypeScript ${COMPILERS.join(', ')}`, 'ts-jest', 'jest 29', ...MANAGERS.map(({ name }) => name)];
    console.log(`NOT CHECKED, because of --offline: ${left.join('; ')}`);
    return;
  }
  checkElsewhere(thePackage, folder, tarball, installed);
}

const { values, positionals } = parseArgs({ options: { offline: { type: 'boolean' } }, allowPositionals: true });
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'llm-datadist-package-'));
try {
  const root = path.resolve(positionals[0] ?? path.join(__dirname, '..'));
  checkPackage(readPackage(root), folder, values.offline === true);
} finally {
  fs.rmSync(folder, { recursive: true });
}
console.log(`${count.passed} passed, ${count.failed} failed`);
process.exitCode = count.failed === 0 ? 0 : 1;

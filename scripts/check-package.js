#!/usr/bin/env node
'use strict';

// Builds and packs the package, installs the tarball in an empty project and looks at it as a user would.
//
//   node scripts/check-package.js [folder of the package]
//
// Prints one row per check, then "N passed, N failed"; the exit code is 1 when a check failed.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { TARGETS } = require('./native-tools');
const { BINARIES, prebuildProblems } = require('./prebuild');

const tools = path.resolve(__dirname, '..', 'node_modules');
const root = path.resolve(process.argv[2] ?? path.join(__dirname, '..'));
const manifest = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
const entryPoints = Object.entries(manifest.exports)
  .filter(([, entry]) => typeof entry === 'object')
  .map(([subPath, entry]) => ({ name: path.posix.join(manifest.name, subPath), entry }));

/** Processors that the tarball brings binaries for, each in a folder of its own. */
const processors = [...TARGETS.keys()];

/** What the tarball must hold beside dist/, native/ and prebuilds/, and nothing else. */
const topFiles = ['CHANGELOG.md', 'CMakeLists.txt', 'LICENSE', 'README.md', 'binding.gyp', 'package.json'];

/** What `npm run build` writes besides modules; see pack-scenarios.js. */
const packedScenarios = 'dist/conformance/scenarios.jsonl.gz';

/** The names of this contract that a program of any user needs; the wrong call proves that the types are not `any`. */
const consumer = `
import { LLMDataDist, LLMException, LLMRole, type CacheDesc, type KvCache } from '${manifest.name}';
import * as testing from '${manifest.name}/testing';
import * as conformance from '${manifest.name}/conformance';

export async function allocate(desc: CacheDesc): Promise<KvCache> {
  const node = new LLMDataDist(LLMRole.PROMPT, 1n, { backend: 'mock' });
  await node.init({ deviceId: 0 });
  return await node.kvCacheManager.allocateCache(desc);
}

export function statusOf(error: unknown): number | undefined {
  return error instanceof LLMException ? error.statusCode : undefined;
}

// @ts-expect-error a role is not a string
export const wrong = new LLMDataDist('PROMPT', 1n);
export const entryPoints: object[] = [testing, conformance];
`;

/** What a test of a user says, with the types of jest that he has: @types/jest, or those of @jest/globals. */
const jestConsumer = `
import { expect as imported } from '@jest/globals';
import { type KvCache, LLMDataDist, LLMRole } from '${manifest.name}';
import { matchers } from '${manifest.name}/testing/jest';
import '${manifest.name}/testing/jest-globals';

expect.extend(matchers);
imported.extend(matchers);

export async function check(node: LLMDataDist, cache: KvCache): Promise<void> {
  expect(node).not.toBeLinkedTo(new LLMDataDist(LLMRole.PROMPT, 1n));
  imported(node).toBeLinkedTo(1n);
  await expect(node.finalize()).toRejectWithStatus('LLM_TIMEOUT');
  await imported(() => node.finalize()).not.toRejectWithStatus(1);
  await expect(node).toHaveReceivedBlocks(cache, [1], (tensor, block) => Uint8Array.of(tensor, block));
  // @ts-expect-error no status has this name
  await imported(node.finalize()).toRejectWithStatus('LLM_NONSENSE');
  // @ts-expect-error an id is no text
  expect(node).toBeLinkedTo('1');
}
`;

/**
 * Reports are read in logs: no colours. With both variables set Node would print a warning about them. A publication that
 * is only tried, and starts this script, must not keep npm from packing here.
 */
const plainText = { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined, npm_config_dry_run: undefined };

class CheckError extends Error {}

function fail(problems) {
  if (problems.length > 0) {
    throw new CheckError(problems.join('\n'));
  }
}

function run(command, args, cwd, env = {}) {
  const options = { cwd, env: { ...plainText, ...env }, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 };
  const result = spawnSync(command, args, options);
  const status = result.status ?? result.signal ?? result.error?.message;
  return { status, output: `${result.stdout ?? ''}${result.stderr ?? ''}` };
}

/** Runs a program that has to succeed; what it printed is the reason when it does not. */
function runWell(command, args, cwd) {
  const { status, output } = run(command, args, cwd);
  if (status !== 0) {
    throw new CheckError(`it ended with ${status}:\n${output}`);
  }
}

/** Runs JavaScript in the consumer's project; loading a package must not print anything. */
function runQuietly(project, inputType, source, env) {
  const { status, output } = run(process.execPath, [`--input-type=${inputType}`, '-e', source], project, env);
  if (status !== 0 || output !== '') {
    throw new CheckError(`it ended with ${status} and printed:\n${output}`);
  }
}

function pack(folder) {
  runWell('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], root);
  const tarball = fs.readdirSync(folder).find((name) => name.endsWith('.tgz'));
  return path.join(folder, tarball);
}

function install(tarball, project) {
  fs.mkdirSync(project);
  fs.writeFileSync(path.join(project, 'package.json'), '{ "name": "consumer", "private": true }\n');
  const quiet = ['--no-audit', '--no-fund', '--no-update-notifier', '--offline'];
  // The prefix is spelled out because npm run hands its own to the npm that is started from here.
  runWell('npm', ['install', tarball, '--prefix', project, ...quiet], project);
}

/** Nothing may run at install, and nothing may come along. */
function checkInstalled(project) {
  const lock = JSON.parse(fs.readFileSync(path.join(project, 'package-lock.json'), 'utf8'));
  const { [`node_modules/${manifest.name}`]: own, ...others } = lock.packages;
  const more = Object.keys(others).filter((key) => key !== '');
  fail([
    ...(own.hasInstallScript ? ['npm runs a script at install: remove it, or set "gypfile": false'] : []),
    ...more.map((key) => `the package brings ${key} along: it must have no runtime dependency`),
  ]);
}

function filesBelow(folder) {
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.relative(folder, path.join(entry.parentPath ?? entry.path, entry.name)))
    .map((name) => name.split(path.sep).join('/'))
    .sort();
}

/** Why a file does not belong into the tarball, or undefined. */
function objection(name) {
  if ([...topFiles, packedScenarios].includes(name) || /^native\/([\w-]+\/)*[\w.-]+\.(cc|h|map|md|txt)$/.test(name)) {
    return undefined;
  }
  const [, processor, binary] = /^prebuilds\/linux-(\w+)\/([^/]+)$/.exec(name) ?? [];
  if (processors.includes(processor) && BINARIES.includes(binary)) {
    return undefined;
  }
  const door = /^dist\/.*\.(mjs|d\.mts)$/.test(name);
  const module = /^dist\/(?<stem>.*)\.(js|js\.map|d\.ts)$/.exec(name)?.groups.stem;
  if (door) {
    const named = entryPoints.some(({ entry }) => Object.values(entry.import).includes(`./${name}`));
    return named ? undefined : 'no entry point of package.json names it';
  }
  if (module === undefined) {
    return 'not on the list of files that are published';
  }
  const source = `lib/${module}.ts`;
  return fs.existsSync(path.join(root, source)) ? undefined : `${source} is gone: remove dist/ and build again`;
}

function checkFiles(installed) {
  const names = filesBelow(installed);
  fail([
    ...names
      .map((name) => [name, objection(name)])
      .filter(([, why]) => why !== undefined)
      .map((pair) => pair.join(': ')),
    ...[...topFiles, packedScenarios].filter((name) => !names.includes(name)).map((name) => `${name}: missing`),
    ...['dist/', 'native/'].filter((top) => !names.some((name) => name.startsWith(top))).map((top) => `${top}: empty`),
  ]);
}

function checkPrebuilt(installed) {
  fail(
    processors.flatMap((processor) => {
      const folder = path.join('prebuilds', `linux-${processor}`);
      return prebuildProblems(path.join(installed, folder), processor).map((problem) => `${folder}: ${problem}`);
    }),
  );
}

/** A host without a compiler, and without anything else, has what the tarball brings along. */
function checkAddonLoads(project, installed) {
  const expected = path.join(installed, 'prebuilds', `${process.platform}-${process.arch}`, 'llm_datadist.node');
  runQuietly(
    project,
    'commonjs',
    `const { addonPath, attempts } = require(${JSON.stringify(manifest.name)}).probeNative();
     if (addonPath !== ${JSON.stringify(expected)}) console.log('the addon is', addonPath, attempts);`,
    { PATH: '', LLM_DATADIST_ADDON: undefined },
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

function checkPaths(installed) {
  fail(
    filesBelow(installed)
      .filter((name) => fs.readFileSync(path.join(installed, name), 'utf8').includes(root + path.sep))
      .map((name) => `${name}: names the folder of this machine that it was built in`),
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

/** @param more compiler options beside those of every consumer */
function typeCheck(project, type, source = consumer, more = {}) {
  const folder = fs.mkdtempSync(path.join(project, `${type}-`));
  fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ private: true, type }));
  fs.writeFileSync(path.join(folder, 'consumer.ts'), source);
  const compilerOptions = {
    module: 'node16',
    target: 'es2022',
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    // Declarations that do not compile must show here, not at the user's.
    skipLibCheck: false,
    typeRoots: [path.join(tools, '@types')],
    types: ['node'],
    ...more,
  };
  fs.writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['consumer.ts'] }));
  runWell(process.execPath, [path.join(tools, 'typescript/bin/tsc'), '-p', folder], folder);
}

/** jest is the user's: its types are found as if it were installed beside the package. */
function typeCheckMatchers(project, type) {
  const paths = Object.fromEntries(
    ['expect', '@jest/globals'].map((name) => [name, [path.join(tools, name, 'build/index.d.ts')]]),
  );
  typeCheck(project, type, jestConsumer, { types: ['node', 'jest'], paths });
}

const count = { passed: 0, failed: 0 };

/** Runs one check and prints its row; returns what the check returned, or undefined when it failed. */
function check(name, action) {
  try {
    const result = action();
    count.passed += 1;
    console.log(`ok    ${name}`);
    return result;
  } catch (error) {
    count.failed += 1;
    const reason = error instanceof CheckError ? error.message : error.stack;
    const lines = reason.split('\n').filter((line) => line.trim() !== '');
    console.log([`FAIL  ${name}`, ...lines.map((line) => `        ${line}`)].join('\n'));
    return undefined;
  }
}

function checkPackage(folder) {
  const project = path.join(folder, 'project');
  const installed = path.join(project, 'node_modules', manifest.name);
  check('npm run build', () => runWell('npm', ['run', 'build'], root));
  check('npm run prebuild', () => runWell('npm', ['run', 'prebuild'], root));
  const tarball = check('npm pack', () => pack(folder));
  if (tarball === undefined) {
    return;
  }
  check('publint, strict', () =>
    runWell(process.execPath, [path.join(tools, 'publint/src/cli.js'), 'run', tarball, '--strict'], root),
  );
  // The profile leaves out node10: that resolution knows no exports map, hence no sub-paths.
  check('are the types wrong: node16 from CommonJS, node16 from ESM, bundler', () =>
    runWell(
      process.execPath,
      [path.join(tools, '@arethetypeswrong/cli/dist/index.js'), tarball, '--profile', 'node16', '--format', 'ascii'],
      root,
    ),
  );
  check('the tarball installs offline in an empty project', () => install(tarball, project));
  if (!fs.existsSync(installed)) {
    return;
  }
  check('nothing runs at install and nothing comes along', () => checkInstalled(project));
  check('the files are those that are meant to be published', () => checkFiles(installed));
  check('the prebuilt binaries are there for each processor, and load wherever Node does', () =>
    checkPrebuilt(installed),
  );
  check('the prebuilt addon is found and loaded, without a compiler', () => checkAddonLoads(project, installed));
  check('source maps lead to published text', () => checkMaps(installed));
  check('no file names a folder of this machine', () => checkPaths(installed));
  for (const { name } of entryPoints) {
    check(`require('${name}')`, () => runQuietly(project, 'commonjs', `require(${JSON.stringify(name)});`));
    check(`import('${name}')`, () => runQuietly(project, 'module', `await import(${JSON.stringify(name)});`));
    check(`${name}: import and require() give the same objects`, () => checkSameObjects(project, name));
  }
  check('a TypeScript consumer compiles as an ES module', () => typeCheck(project, 'module'));
  check('a TypeScript consumer compiles as CommonJS', () => typeCheck(project, 'commonjs'));
  if (entryPoints.some(({ name }) => name.endsWith('/testing/jest'))) {
    check('a test with the matchers compiles as an ES module', () => typeCheckMatchers(project, 'module'));
    check('a test with the matchers compiles as CommonJS', () => typeCheckMatchers(project, 'commonjs'));
  }
}

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'llm-datadist-package-'));
try {
  checkPackage(folder);
} finally {
  fs.rmSync(folder, { recursive: true });
}
console.log(`${count.passed} passed, ${count.failed} failed`);
process.exitCode = count.failed === 0 ? 0 : 1;

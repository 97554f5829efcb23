#!/usr/bin/env node
'use strict';

// Whether programs that use the built package work when a bundler has made one file of them, and in Deno and Bun:
// bundles each program of test/bundles/programs, runs it where no package is installed, and compares what it prints.
// Bundlers and runtimes are installed, in the versions below, into a temporary folder: the project does without them.
//
//   node scripts/check-bundles.js [--tools FOLDER]    FOLDER has the tools already, or gets them and keeps them

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');

const root = path.resolve(__dirname, '..');
const bundles = path.join(root, 'test', 'bundles');
const ADDON = 'llm_datadist.node';
const BRIDGE = 'llm_datadist_bridge.so';

const TOOLS = {
  '@rollup/plugin-commonjs': '29.0.3',
  '@rollup/plugin-node-resolve': '16.0.3',
  bun: '1.4.5',
  deno: '2.9.6',
  esbuild: '0.28.2',
  rollup: '4.68.8',
  vite: '8.4.0',
  webpack: '5.113.0',
};

/** What a bundler writes: a name whose suffix says what kind of module it is. */
const BUNDLERS = {
  'esbuild, CommonJS': 'cjs',
  'esbuild, ES module': 'mjs',
  'webpack, CommonJS': 'cjs',
  'webpack, ES module': 'mjs',
  'rollup, CommonJS': 'cjs',
  'rollup, ES module': 'mjs',
  'vite, SSR': 'mjs',
};

const WORKS = {
  mock: 'mock: 16 bytes from 32\n',
  fabric: 'memory: LLM_SUCCESS, true LLM_LINK_FAILED\ntcp: LLM_SUCCESS, true LLM_LINK_FAILED\n',
  typed: 'typed: cache 1, LLM_LINK_FAILED of cluster 2\n',
};

/** Of a bundle that the addon and the other files of the package are no part of. */
const IN_A_BUNDLE = {
  mock: WORKS.mock,
  fabric: WORKS.fabric,
  auto:
    'LLMDataDistMockWarning names external: true\nauto: mock\nnative: true, names external: true\n' +
    'probe: false, addon: false\n',
  conformance: 'scenarios: names external: true\nprocesses: names external: true\nbackends: function\n',
};

/** Where the package is installed. No host of ours has the vendor's library, but the addon is found. */
const INSTALLED = {
  ...WORKS,
  auto:
    'LLMDataDistMockWarning names external: false\nauto: mock\nnative: true, names external: false\n' +
    'probe: false, addon: true\n',
  conformance: 'scenarios: true\nprocesses: function\nbackends: function\n',
};

class CheckError extends Error {}

/** This process's environment without what chooses a backend. Reports are read in logs: no colours. */
function plainEnvironment() {
  const chosen = ([name]) => /^(LLM_DATADIST_|ASCEND_|npm_config_dry_run$|FORCE_COLOR$|NODE_OPTIONS$)/.test(name);
  return { ...Object.fromEntries(Object.entries(process.env).filter((entry) => !chosen(entry))), NO_COLOR: '1' };
}

function run(command, args, cwd) {
  const options = { cwd, env: plainEnvironment(), encoding: 'utf8', timeout: 120_000 };
  const { status, signal, error, stdout, stderr } = spawnSync(command, args, options);
  if (status !== 0) {
    throw new CheckError(`it ended with ${error?.message ?? signal ?? status}:\n${stdout}${stderr}`);
  }
  return stdout;
}

function expectOutput(expected, command, args, cwd) {
  const output = run(command, args, cwd);
  if (output !== expected) throw new CheckError(`it printed:\n${output}instead of:\n${expected}`);
}

function writeManifest(folder, manifest) {
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ private: true, ...manifest }));
}

function installTools(folder) {
  writeManifest(folder, { dependencies: TOOLS });
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', folder], folder);
  fs.copyFileSync(path.join(bundles, 'bundle.mjs'), path.join(folder, 'bundle.mjs'));
}

/** A project that has the package as npm would install it, with the addon of this checkout where it is not packed. */
function installPackage(project) {
  const packed = path.join(project, 'packed');
  fs.mkdirSync(packed, { recursive: true });
  run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', packed], root);
  const [tarball] = fs.readdirSync(packed);
  writeManifest(project, { type: 'module' });
  const offline = ['--offline', '--ignore-scripts', '--no-audit', '--no-fund'];
  run('npm', ['install', path.join(packed, tarball), '--prefix', project, ...offline], project);
  const target = `${process.platform}-${process.arch}`;
  const prebuilt = path.join(project, 'node_modules', 'llm-datadist', 'prebuilds', target);
  if (!fs.existsSync(prebuilt)) {
    fs.mkdirSync(prebuilt, { recursive: true });
    for (const name of [ADDON, BRIDGE]) {
      fs.copyFileSync(path.join(root, 'build', 'Release', name), path.join(prebuilt, name));
    }
  }
  fs.cpSync(path.join(bundles, 'programs'), project, { recursive: true });
}

function bundle(tools, job) {
  run(process.execPath, [path.join(tools, 'bundle.mjs'), JSON.stringify(job)], tools);
}

const count = { passed: 0, failed: 0 };

/** Runs one check and prints its row. */
function check(name, action) {
  try {
    action();
    count.passed += 1;
    console.log(`ok    ${name}`);
  } catch (error) {
    if (!(error instanceof CheckError)) throw error;
    count.failed += 1;
    const lines = error.message.split('\n').filter((line) => line.trim() !== '');
    console.log([`FAIL  ${name}`, ...lines.map((line) => `        ${line}`)].join('\n'));
  }
}

function checkBundler(bundler, suffix, { tools, project, alone }) {
  const name = (program) => `${bundler.replaceAll(/\W+/g, '-')}-${program}.${suffix}`;
  for (const [program, expected] of Object.entries(IN_A_BUNDLE)) {
    check(`${bundler}: ${program}`, () => {
      const [entry, file] = [path.join(project, `${program}.mjs`), name(program)];
      bundle(tools, { bundler, entry, folder: alone, file, external: [] });
      expectOutput(expected, process.execPath, [path.join(alone, file)], alone);
    });
  }
  check(`${bundler}: auto, llm-datadist external`, () => {
    const [entry, file] = [path.join(project, 'auto.mjs'), name('external')];
    bundle(tools, { bundler, entry, folder: project, file, external: ['llm-datadist'] });
    expectOutput(INSTALLED.auto, process.execPath, [path.join(project, file)], project);
  });
}

/** The programs themselves, where the package is installed. */
function checkRuntime(name, command, args, project) {
  for (const [program, expected] of Object.entries(INSTALLED)) {
    const file = program === 'typed' ? 'typed.ts' : `${program}.mjs`;
    check(`${name}: ${program}`, () => expectOutput(expected, command, [...args, file], project));
  }
}

/** A program of a package that is installed for this platform. */
function programOf(tools, ...places) {
  const files = places.map((place) => path.join(tools, 'node_modules', place));
  return files.find((file) => fs.existsSync(file)) ?? files[0];
}

function checkAll(folder, tools) {
  const [project, alone] = [path.join(folder, 'project'), path.join(folder, 'alone')];
  fs.mkdirSync(alone);
  installTools(tools);
  installPackage(project);
  for (const [bundler, suffix] of Object.entries(BUNDLERS)) checkBundler(bundler, suffix, { tools, project, alone });
  const deno = programOf(tools, `@deno/linux-${process.arch}-glibc/deno`);
  const bunArch = process.arch === 'arm64' ? 'aarch64' : process.arch;
  // Where scripts of packages run, Bun's moves its program to the second place.
  const bun = programOf(tools, `@oven/bun-linux-${bunArch}/bin/bun`, 'bun/bin/bun.exe');
  check('deno check: typed', () => run(deno, ['check', '--node-modules-dir=manual', 'typed.ts'], project));
  checkRuntime('deno', deno, ['run', '--allow-all', '--node-modules-dir=manual'], project);
  checkRuntime('bun', bun, ['run'], project);
}

const { tools } = parseArgs({ options: { tools: { type: 'string' } } }).values;
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'llm-datadist-bundles-'));
try {
  checkAll(folder, path.resolve(tools ?? path.join(folder, 'tools')));
} finally {
  fs.rmSync(folder, { recursive: true });
}
console.log(`${count.passed} passed, ${count.failed} failed`);
process.exitCode = count.failed === 0 ? 0 : 1;

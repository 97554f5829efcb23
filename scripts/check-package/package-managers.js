'use strict';

// Installs the tarball with the package managers that users have, as they are set up: scripts are not switched off.

const fs = require('node:fs');
const path = require('node:path');
const { URL } = require('node:url');
const { run, runWell } = require('./command');
const { fetched, fetchedFile } = require('./fetched');
const { CheckError, fail } = require('./report');

/** No manager may say any of this about a package that has nothing to build. */
const COMPLAINT =
  /\b(warn(ing)?s?|gyp|(build|install|lifecycle) scripts?|postinstalls?|approve-builds|(un)?trust\w*)\b/i;

const node = (file) => [process.execPath, file];

/** Of several builds of bun, for processors with and without AVX2 and for each libc, the one that runs here. */
function bunProgram() {
  const vendor = path.join(fetched(['bun@1']), 'node_modules', '@oven');
  const programs = fs.readdirSync(vendor).map((name) => path.join(vendor, name, 'bin', 'bun'));
  const program = programs.find((file) => run(file, ['--version'], vendor).status === 0);
  if (program === undefined) throw new CheckError(`none of ${programs.join(', ')} runs on this host`);
  return program;
}

/**
 * `command` gives the manager's program; `steps` are its arguments, the first with the tarball; each step but the first
 * starts from the lock file that is there. `fresh` names steps before which the installed packages are removed. `node` is
 * how Node runs in the project, `env` the manager's settings, and `own` what it says about itself.
 */
const npm = (major) => ({
  name: `npm ${major}`,
  command: () => node(fetchedFile(`npm@${major}`, 'bin/npm-cli.js')),
  steps: (tarball) => [['install', tarball], ['ci'], ['install'], ['rebuild']],
});

const yarn4 = (linker) => ({
  name: `yarn 4, ${linker}`,
  command: () => node(fetchedFile('@yarnpkg/cli-dist@4', 'bin/yarn.js')),
  // With a file of its own the project is none of a workspace above it.
  files: { 'yarn.lock': '' },
  steps: (tarball, name) => [
    ['add', `${name}@file:${tarball}`],
    ['install', '--immutable'],
    ['install', '--immutable', '--check-cache'],
    ['rebuild'],
  ],
  fresh: [2],
  // What it says of its support for ES modules, with the line that sums up.
  own: /YN0092|Done with warnings/,
  node: (command) => [...command, 'node'],
  env: (folder) => ({
    YARN_NODE_LINKER: linker,
    YARN_PNP_ENABLE_ESM_LOADER: 'true',
    YARN_GLOBAL_FOLDER: path.join(folder, 'yarn'),
  }),
});

const pnpm = (major) => ({
  name: `pnpm ${major}`,
  command: () => node(fetchedFile(`pnpm@${major}`, 'bin/pnpm.cjs')),
  steps: (tarball) => [['add', tarball], ['install', '--frozen-lockfile'], ['install'], ['rebuild']],
  fresh: [1],
  env: (folder) => ({ npm_config_store_dir: path.join(folder, 'store') }),
});

const MANAGERS = [
  npm(10),
  npm(11),
  {
    name: 'yarn 1',
    command: () => node(fetchedFile('yarn@1', 'bin/yarn.js')),
    steps: (tarball) => [
      ['add', `file:${tarball}`],
      ['install', '--frozen-lockfile'],
      ['install'],
      ['install', '--force'],
    ],
    fresh: [1],
    env: (folder) => ({ YARN_CACHE_FOLDER: path.join(folder, 'cache') }),
  },
  yarn4('pnp'),
  yarn4('node-modules'),
  pnpm(9),
  pnpm(10),
  {
    name: 'bun',
    command: () => [bunProgram()],
    steps: (tarball) => [['add', tarball], ['install', '--frozen-lockfile'], ['install']],
    fresh: [1],
    env: (folder) => ({ BUN_INSTALL_CACHE_DIR: path.join(folder, 'cache') }),
  },
];

/** Settings that all get: the registry of npm here, caches that know no older tarball, and no news about the manager. */
function commonSettings(folder, registry) {
  const { protocol, hostname } = new URL(registry);
  const others = Object.keys(process.env).filter((name) => /^npm_config_/i.test(name));
  return {
    ...Object.fromEntries(others.map((name) => [name, undefined])),
    CI: 'true',
    npm_config_registry: registry,
    npm_config_cache: path.join(folder, 'npm'),
    // Settings of this machine's user would switch scripts off, or be complained about themselves.
    npm_config_userconfig: path.join(folder, 'npmrc'),
    npm_config_update_notifier: 'false',
    npm_config_ignore_scripts: 'false',
    BUN_CONFIG_REGISTRY: registry,
    YARN_REGISTRY: registry,
    YARN_NPM_REGISTRY_SERVER: registry,
    ...(protocol === 'http:' && { YARN_UNSAFE_HTTP_WHITELIST: hostname }),
    YARN_ENABLE_SCRIPTS: 'true',
    YARN_ENABLE_TELEMETRY: 'false',
    YARN_ENABLE_GLOBAL_CACHE: 'true',
  };
}

/** The registry that npm is configured with, whichever of its files or variables says so. */
function configuredRegistry(cwd) {
  return runWell('npm', ['config', 'get', 'registry'], cwd).trim();
}

function takeStep(command, args, project, { env, own }) {
  const shown = args.join(' ');
  const { status, output } = run(command[0], [...command.slice(1), ...args], project, env);
  if (status !== 0) throw new CheckError(`\`${shown}\` ended with ${status}:\n${output}`);
  const complaints = output.split('\n').filter((line) => COMPLAINT.test(line) && own?.test(line) !== true);
  fail(complaints.length > 0 ? [`\`${shown}\` complains:`, ...complaints] : []);
}

/** A build that was made, or tried, leaves its files beside those of the tarball. */
function checkNothingBuilt(project, name) {
  const installed = path.join(project, 'node_modules', name);
  if (!fs.existsSync(installed)) return;
  fail(fs.existsSync(path.join(installed, 'build')) ? ['the manager built something: there is a folder build/'] : []);
}

/**
 * Installs the tarball with one manager, from nothing and then from its lock file, and runs programs on it.
 *
 * @param project a folder that is made for it
 * @param consumer `name` of the package; `tarball`; `programs`, each its text by the file's name; `registry`
 * @throws CheckError
 */
function checkManager(manager, project, { name, tarball, programs, registry }) {
  const command = manager.command();
  const copy = `./${path.basename(tarball)}`;
  const files = { 'package.json': '{ "name": "consumer", "private": true, "license": "MIT" }\n', ...programs };
  fs.mkdirSync(project);
  for (const [file, text] of Object.entries({ ...manager.files, ...files })) {
    fs.writeFileSync(path.join(project, file), text);
  }
  // Lock files of yarn 1 do not hold what is named by an absolute path.
  fs.copyFileSync(tarball, path.join(project, copy));
  const caches = `${project}-caches`;
  const env = { ...commonSettings(caches, registry), ...manager.env?.(caches) };
  for (const [index, args] of manager.steps(copy, name).entries()) {
    if (manager.fresh?.includes(index)) fs.rmSync(path.join(project, 'node_modules'), { recursive: true, force: true });
    takeStep(command, args, project, { env, own: manager.own });
    checkNothingBuilt(project, name);
  }
  const inside = manager.node?.(command) ?? [process.execPath];
  for (const file of Object.keys(programs)) {
    runWell(inside[0], [...inside.slice(1), file], project, env);
  }
}

module.exports = { MANAGERS, checkManager, configuredRegistry };

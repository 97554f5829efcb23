'use strict';

// npm packages that a check needs and the project does not: package managers, older compilers. They are fetched once,
// from the registry that npm is configured with, into build/fetched.

const fs = require('node:fs');
const path = require('node:path');
const { withLock } = require('../file-lock');
const { runWell } = require('./command');

const folder = path.resolve(__dirname, '../../build/fetched');

/**
 * The folder in whose node_modules npm has put these packages.
 *
 * @param specs such as `['npm@10']`
 * @throws CheckError
 */
function fetched(specs) {
  const home = path.join(folder, specs.join('+').replaceAll('/', '_'));
  return withLock(path.join(folder, 'lock'), () => {
    if (fs.existsSync(home)) return home;
    const unfinished = `${home}.unfinished`;
    fs.rmSync(unfinished, { recursive: true, force: true });
    fs.mkdirSync(unfinished, { recursive: true });
    fs.writeFileSync(path.join(unfinished, 'package.json'), '{ "private": true }\n');
    const quiet = ['--no-audit', '--no-fund', '--no-update-notifier', '--ignore-scripts', '--no-package-lock'];
    runWell('npm', ['install', '--silent', ...quiet, '--prefix', unfinished, ...specs], unfinished);
    fs.renameSync(unfinished, home);
    return home;
  });
}

/** A file of one package that is fetched by itself. */
function fetchedFile(spec, file) {
  const name = spec.slice(0, spec.lastIndexOf('@'));
  return path.join(fetched([spec]), 'node_modules', name, file);
}

module.exports = { fetched, fetchedFile };

'use strict';

// The first program of the README, as a user copies it: into a CommonJS file and into an ES module.

const fs = require('node:fs');
const path = require('node:path');
const { CheckError } = require('./report');

const tools = path.resolve(__dirname, '../../node_modules');

/** @returns the TypeScript of the example */
function firstProgram(installed) {
  const readme = fs.readFileSync(path.join(installed, 'README.md'), 'utf8');
  const [, code] = /<!-- example: first-program -->\s*```ts\n(.*?)```/s.exec(readme) ?? [];
  if (code === undefined) throw new CheckError('README.md has no example of the name first-program');
  return code;
}

/** Programs that load every entry point and then run the first program, each its text by the file's name. */
function consumerPrograms(installed, names) {
  // Loaded here, because the checks say more when it is missing than a module that cannot be loaded.
  const ts = require(path.join(tools, 'typescript'));
  const code = firstProgram(installed);
  const compile = (module) =>
    ts.transpileModule(code, { compilerOptions: { module, target: ts.ScriptTarget.ES2022 } }).outputText;
  const text = (name) => JSON.stringify(name);
  return {
    'main.cjs': names.map((name) => `require(${text(name)});\n`).join('') + compile(ts.ModuleKind.CommonJS),
    'main.mjs': names.map((name) => `import ${text(name)};\n`).join('') + compile(ts.ModuleKind.ES2022),
  };
}

module.exports = { consumerPrograms };

'use strict';

// Failing tests that hold bigints, in jest 29: its workers report to their parent process as JSON, in which a bigint is an
// error that ends the worker, and with it the report of the failure.

const fs = require('node:fs');
const path = require('node:path');
const { run } = require('./command');
const { fetched } = require('./fetched');
const { CheckError, fail } = require('./report');

const JEST = 'jest@29.7.0';

const BIGINTS = `
test('a bigint that is not the expected one', () => {
  expect(9007199254740993n).toBe(1n);
});
test('a bigint inside of an object', () => {
  expect({ id: 5n, list: [6n] }).toEqual({ id: 5n, list: [7n] });
});
test('what passes', () => {
  expect(1n).toBe(1n);
});
`;

const exceptions = (name) => `
const { LLMException, LLMStatusCode } = require('${name}');
const results = [{ remoteClusterId: 9n, statusCode: 5 }];
const error = () => new LLMException(LLMStatusCode.LLM_TIMEOUT, { operation: 'linkClusters', clusterId: 9n, results });
test('an exception that is thrown', () => {
  throw error();
});
test('an exception that is compared', () => {
  expect(error()).toMatchObject({ clusterId: 8n, results: [{ remoteClusterId: 8n }] });
});
test('the results of an exception', () => {
  expect(error().results).toEqual([{ remoteClusterId: 8n, statusCode: 5, code: 'x' }]);
});
test('an exception as the cause of another error', () => {
  throw new Error('wrapped', { cause: error() });
});
`;

const matchers = (name) => `
const { LLMDataDist, LLMException, LLMRole, LLMStatusCode } = require('${name}');
const { createFabric } = require('${name}/testing');
require('${name}/testing/jest');
const dist = () => new LLMDataDist(LLMRole.PROMPT, 3n, { backend: createFabric().backend });
test('a link that is missing', () => {
  expect(dist()).toBeLinkedTo(4n);
});
test('a status that is another one', async () => {
  const info = { operation: 'pullBlocks', clusterId: 9n, cacheId: 2n };
  await expect(Promise.reject(new LLMException(LLMStatusCode.LLM_TIMEOUT, info))).toRejectWithStatus('LLM_FAILED');
});
test('an instance that is compared', () => {
  expect(dist().clusterId).toBe(4n);
});
`;

/** Each failing test has to be reported by its name, and no worker may die. */
function checkJest29(installed, project, name) {
  const modules = path.join(fetched([JEST]), 'node_modules');
  const own = path.join(project, 'node_modules');
  fs.mkdirSync(own, { recursive: true });
  for (const each of fs.readdirSync(modules)) fs.symlinkSync(path.join(modules, each), path.join(own, each));
  fs.cpSync(installed, path.join(own, name), { recursive: true });
  fs.writeFileSync(path.join(project, 'package.json'), '{ "private": true, "jest": { "testEnvironment": "node" } }\n');
  // The one with bigints alone has the package loaded too, as a setup file of a user's would.
  const files = { bigints: `require('${name}');${BIGINTS}`, exceptions: exceptions(name), matchers: matchers(name) };
  for (const [file, text] of Object.entries(files)) fs.writeFileSync(path.join(project, `${file}.test.js`), text);
  const report = path.join(project, 'report.json');
  const args = ['--ci', '--cache=false', '--maxWorkers=2', '--json', `--outputFile=${report}`];
  const { output } = run(process.execPath, [path.join(own, 'jest/bin/jest.js'), ...args], project);
  if (!fs.existsSync(report)) throw new CheckError(`jest has written no report:\n${output}`);
  const { testResults } = JSON.parse(fs.readFileSync(report, 'utf8'));
  const told = testResults.flatMap(({ assertionResults }) => assertionResults);
  const statusOf = new Map(told.map(({ title, status }) => [title, status]));
  const titles = Object.values(files).flatMap((text) =>
    Array.from(text.matchAll(/^test\('(.*?)'/gm), ([, title]) => title),
  );
  const wrong = titles.filter((title) => statusOf.get(title) !== (title === 'what passes' ? 'passed' : 'failed'));
  const died = testResults.filter(({ assertionResults }) => assertionResults.length === 0);
  fail([
    ...wrong.map((title) => `'${title}' is reported as ${statusOf.get(title) ?? 'nothing'}`),
    ...died.map(({ name: file, message }) => `${path.basename(file)}: ${message}`),
  ]);
}

module.exports = { checkJest29 };

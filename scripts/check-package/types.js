'use strict';

// Compiles programs of users against the installed package, with the compilers and resolutions that they have.

const fs = require('node:fs');
const path = require('node:path');
const { runWell } = require('./command');
const { fetched, fetchedFile } = require('./fetched');

const tools = path.resolve(__dirname, '../../node_modules');

/** The compilers that the declarations have to be valid for, beside the one of this project, which is a 6. */
const COMPILERS = ['5.0', '5.2', '5.4', '5'];

/**
 * How TypeScript finds modules. `node10` is what `moduleResolution: node` means, and knows no exports map. Without the
 * types of Node the declarations have to do as well; those take longer to check than all of the package.
 */
const RESOLUTIONS = [
  { name: 'node10', type: 'commonjs', types: [], options: { module: 'commonjs', moduleResolution: 'node10' } },
  { name: 'node16 from CommonJS', type: 'commonjs', types: ['node'], options: { module: 'node16' } },
  { name: 'node16 from an ES module', type: 'module', types: [], options: { module: 'node16' } },
  { name: 'bundler', type: 'module', types: [], options: { module: 'es2022', moduleResolution: 'bundler' } },
];

/** The names that a program of any user needs; the wrong call proves that the types are not `any`. */
const program = (name) => `
import { LLMDataDist, LLMException, LLMRole, type CacheDesc, type KvCache } from '${name}';
import * as testing from '${name}/testing';
import * as conformance from '${name}/conformance';

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

/** What a test of a user says, with the types of jest that there are: @types/jest, or those of @jest/globals. */
const matcherProgram = (name) => `
import { expect as imported } from '@jest/globals';
import { type KvCache, LLMDataDist, LLMRole } from '${name}';
import { matchers } from '${name}/testing/jest';
import '${name}/testing/jest-globals';

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
 * @param project in which the package is installed
 * @param compiler the folder of the TypeScript
 * @param type of the consumer's package.json
 * @param more compiler options beside those of every consumer
 */
function compile(project, compiler, type, source, more) {
  const folder = fs.mkdtempSync(path.join(project, `${type}-`));
  fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ private: true, type }));
  fs.writeFileSync(path.join(folder, 'consumer.ts'), source);
  const compilerOptions = {
    target: 'es2022',
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    // Declarations that do not compile must show here, not at the user's.
    skipLibCheck: false,
    typeRoots: [path.join(tools, '@types')],
    ...more,
  };
  fs.writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['consumer.ts'] }));
  runWell(process.execPath, [path.join(compiler, 'bin', 'tsc'), '-p', folder], folder);
}

/** TypeScript 6 has to be asked for what 7 no longer has. */
function spelledFor(compiler, { moduleResolution, ...options }) {
  const { version } = JSON.parse(fs.readFileSync(path.join(compiler, 'package.json'), 'utf8'));
  const isOld = moduleResolution === 'node10' && Number(version.split('.')[0]) >= 6;
  return {
    ...options,
    ...(moduleResolution !== undefined && { moduleResolution }),
    ...(isOld && { ignoreDeprecations: '6.0' }),
  };
}

/**
 * A program of a user compiles in one way of finding modules.
 *
 * @param version of TypeScript, which is fetched; the one of this project without it
 */
function checkTypes(project, name, { type, types, options }, version) {
  const compiler = version === undefined ? path.join(tools, 'typescript') : fetchedFile(`typescript@${version}`, '.');
  compile(project, compiler, type, program(name), { ...spelledFor(compiler, options), types });
}

/** jest is the user's: its types are found as if it were installed beside the package. */
function checkMatcherTypes(project, name, { type, options }) {
  const compiler = path.join(tools, 'typescript');
  const paths = Object.fromEntries(
    ['expect', '@jest/globals'].map((each) => [each, [path.join(tools, each, 'build/index.d.ts')]]),
  );
  const more = { ...spelledFor(compiler, options), types: ['node', 'jest'], paths };
  compile(project, compiler, type, matcherProgram(name), more);
}

/** With numbers for ids: without a tsconfig.json the target is too old for literals of bigints. */
const test = (name) => `
import { LLMDataDist, LLMRole } from '${name}';
import * as conformance from '${name}/conformance';
import { createFabric } from '${name}/testing';
import { matchers } from '${name}/testing/jest';

expect.extend(matchers);

test('every entry point is found', async () => {
  const fabric = createFabric();
  const node = new LLMDataDist(LLMRole.PROMPT, 1, { backend: fabric.backend });
  await node.init({ deviceId: 0 });
  // @ts-expect-error an id is no text
  expect(() => expect(node).toBeLinkedTo('1')).toThrow();
  expect(node).not.toBeLinkedTo(2);
  expect(typeof conformance.describeBackend).toBe('function');
  await node.finalize();
  fabric.close();
});
`;

const globalsTest = (name) => `
import { expect, test } from '@jest/globals';
import { LLMDataDist, LLMRole } from '${name}';
import '${name}/testing/jest-globals';

test('the matchers are known without types of jest that are global', () => {
  expect(new LLMDataDist(LLMRole.PROMPT, 1, { backend: 'mock' })).not.toBeLinkedTo(2);
});
`;

/** A project with ts-jest as its documentation has it set up: a preset, and no tsconfig.json. */
function checkTsJest(installed, project, name) {
  const dependencies = ['jest@29', 'ts-jest@29', 'typescript@5', '@types/jest@29', '@types/node@20'];
  const modules = path.join(fetched(dependencies), 'node_modules');
  const own = path.join(project, 'node_modules');
  fs.mkdirSync(own, { recursive: true });
  for (const each of fs.readdirSync(modules)) fs.symlinkSync(path.join(modules, each), path.join(own, each));
  fs.cpSync(installed, path.join(own, name), { recursive: true });
  const manifest = { private: true, jest: { preset: 'ts-jest' } };
  fs.writeFileSync(path.join(project, 'package.json'), JSON.stringify(manifest));
  fs.writeFileSync(path.join(project, 'globals.test.ts'), globalsTest(name));
  fs.writeFileSync(path.join(project, 'entry-points.test.ts'), test(name));
  runWell(process.execPath, [path.join(own, 'jest/bin/jest.js'), '--ci', '--cache=false'], project);
}

module.exports = { COMPILERS, RESOLUTIONS, checkMatcherTypes, checkTsJest, checkTypes };

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ts from 'typescript';
import * as lib from '../lib';
import { installPackage } from './fixtures/installed-package';
import { expectReadmeBlock, readmeCodeBlocks, readmeExamples } from './fixtures/readme';
import type { ReadmeExample } from './fixtures/readme';

const TIMEOUT = 120_000;

const examples = readmeExamples();
const typed = examples.filter(({ language }) => language === 'ts');
const plain = examples.filter(({ language }) => language === 'js');
const kinds = ['commonjs', 'module'] as const;

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'readme-'));
  installPackage(folder);
  // Loaded before a program: says when an instance is finalized.
  writeFileSync(
    join(folder, 'observed.cjs'),
    `const { LLMDataDist } = require('llm-datadist');
     for (const name of ['finalize', Symbol.asyncDispose]) {
       const end = LLMDataDist.prototype[name];
       LLMDataDist.prototype[name] = async function () {
         await end.call(this);
         console.log('finalized', this.clusterId);
       };
     }`,
  );
}, TIMEOUT);

afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Runs a program of a user to its end, in a process that warns of what is wrong with it. */
function run(name: string, code: string): string {
  const file = join(folder, name);
  writeFileSync(file, code);
  const env = { ...process.env, FORCE_COLOR: undefined, NODE_OPTIONS: undefined };
  const args = ['--require', join(folder, 'observed.cjs'), file];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', env });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout;
}

/** What the comments behind `console.log` say that it prints. */
function promisedWords(code: string): string[] {
  const comments = code.matchAll(/console\.log\([^;]*\); \/\/ (LLM_\w+|retry|\d+n|LLM_\w+ \w+)(?::.*)?$/gm);
  return [...comments].flatMap(([, comment = '']) => comment.split(' '));
}

function expectPromises({ code }: ReadmeExample, stdout: string): void {
  const printed = stdout.split(/\s+/);
  for (const word of promisedWords(code)) expect(printed).toContain(word);
}

const runs = typed.flatMap((example) => kinds.map((kind) => ({ name: example.name, kind, example })));

test('every code block has a name, and so a run', () => {
  expect(examples.length).toBe(readmeCodeBlocks());
  expect(typed.length).toBeGreaterThanOrEqual(4);
  expect(plain.length).toBeGreaterThanOrEqual(1);
  expect(examples.flatMap(({ code }) => promisedWords(code)).length).toBeGreaterThanOrEqual(5);
});

test.each(runs)(
  'the example $name runs as it stands as $kind, and prints what its comments say',
  ({ name, kind, example }) => {
    const module = kind === 'commonjs' ? ts.ModuleKind.CommonJS : ts.ModuleKind.ES2022;
    const compilerOptions = { module, target: ts.ScriptTarget.ES2022 };
    const { outputText } = ts.transpileModule(example.code, { compilerOptions });
    expectPromises(example, run(`${name}.${kind === 'commonjs' ? 'cjs' : 'mjs'}`, outputText));
  },
  TIMEOUT,
);

test.each(plain)(
  'the example $name runs as it stands, without a compiler',
  (example) => {
    expectPromises(example, run(`${example.name}.cjs`, example.code));
  },
  TIMEOUT,
);

test.each(['await-using', 'try-finally'])(
  'the example %s finalizes its instance, by whatever way its block is left',
  (name) => {
    const { code } = examples.find((example) => example.name === name)!;
    const compilerOptions = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 };
    const { outputText } = ts.transpileModule(code, { compilerOptions });
    expect(run(`${name}-ends.cjs`, outputText)).toBe('1n\nfinalized 1n\n');
    const failing = outputText
      .replace(/console\.log\(.*\);/, `throw new Error('left');`)
      .replace('void main();', 'main().catch((error) => console.log(error.message));');
    expect(run(`${name}-fails.cjs`, failing)).toBe('finalized 1n\nleft\n');
  },
  TIMEOUT,
);

test.each(kinds)(
  'the examples pass the type check of a %s project',
  (type) => {
    const project = join(folder, `types-${type}`);
    const packageFolder = join(project, 'node_modules', 'llm-datadist');
    mkdirSync(packageFolder, { recursive: true });
    symlinkSync(join(__dirname, '..', 'lib'), join(packageFolder, 'lib'));
    const exports = {
      '.': './lib/index.ts',
      './conformance': './lib/conformance/index.ts',
      './testing': './lib/testing/index.ts',
    };
    writeFileSync(join(packageFolder, 'package.json'), JSON.stringify({ name: 'llm-datadist', exports }));
    writeFileSync(join(project, 'package.json'), JSON.stringify({ type }));
    const files = typed.map(({ name, code }) => {
      const file = join(project, `${name}.ts`);
      writeFileSync(file, code);
      return file;
    });
    const program = ts.createProgram(files, {
      module: ts.ModuleKind.NodeNext,
      target: ts.ScriptTarget.ES2022,
      types: ['node'],
      typeRoots: [join(__dirname, '..', 'node_modules', '@types')],
      strict: true,
      noEmit: true,
      skipLibCheck: true,
    });
    const diagnostics = files.flatMap((file) => {
      const source = program.getSourceFile(file);
      return [...program.getSemanticDiagnostics(source), ...program.getSyntacticDiagnostics(source)];
    });
    expect(diagnostics.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))).toEqual([]);
  },
  TIMEOUT,
);

test('the table of guards is the one of the code', () => {
  const rows = Object.entries(lib.GUARD_RULES).map(([rule, text]) => `| \`${rule}\` | ${text} |`);
  expectReadmeBlock('guard-rules', ['| Rule | What it asks |', '| --- | --- |', ...rows].join('\n'));
});

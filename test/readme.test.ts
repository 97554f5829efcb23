import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compileFunction } from 'node:vm';
import ts from 'typescript';
import { transformSync } from '@swc/core';
import * as lib from '../lib';
import * as conformance from '../lib/conformance';
import * as testing from '../lib/testing';
import { warningsDuring } from './fixtures/warnings';
import { expectReadmeBlock, readmeCodeBlocks, readmeExamples } from './fixtures/readme';

const examples = readmeExamples();

test('every code block has a name, and so a run', () => {
  expect(examples.length).toBe(readmeCodeBlocks());
  expect(examples.length).toBeGreaterThanOrEqual(3);
});

test.each(examples)('the example $name runs as it stands, and prints what its comments say', async ({ code }) => {
  const printed: unknown[] = [];
  const modules: Readonly<Record<string, unknown>> = {
    'llm-datadist': lib,
    'llm-datadist/conformance': conformance,
    'llm-datadist/testing': testing,
  };
  const scope = {
    require: (name: string) => modules[name],
    console: { log: (...values: unknown[]) => printed.push(...values) },
  };
  expect(await warningsDuring(() => run(code, scope))).toEqual([]);
  for (const [, comment = ''] of code.matchAll(/console\.log\([^;]*\);? ?\)?;? \/\/ (LLM_\w+|retry|LLM_\w+ \w+)$/gm)) {
    for (const word of comment.split(' ')) expect(printed).toContain(word);
  }
});

test('the examples pass the type check that users have', () => {
  const folder = mkdtempSync(join(tmpdir(), 'readme-'));
  try {
    const packageFolder = join(folder, 'node_modules', 'llm-datadist');
    mkdirSync(packageFolder, { recursive: true });
    symlinkSync(join(__dirname, '..', 'lib'), join(packageFolder, 'lib'));
    const exports = {
      '.': './lib/index.ts',
      './conformance': './lib/conformance/index.ts',
      './testing': './lib/testing/index.ts',
    };
    writeFileSync(join(packageFolder, 'package.json'), JSON.stringify({ name: 'llm-datadist', exports }));
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    const files = examples.map(({ name, code }) => {
      const file = join(folder, `${name}.ts`);
      writeFileSync(file, code);
      return file;
    });
    const program = ts.createProgram(files, {
      module: ts.ModuleKind.NodeNext,
      target: ts.ScriptTarget.ES2022,
      lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
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
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the table of guards is the one of the code', () => {
  const rows = Object.entries(lib.GUARD_RULES).map(([rule, text]) => `| \`${rule}\` | ${text} |`);
  expectReadmeBlock('guard-rules', ['| Rule | What it asks |', '| --- | --- |', ...rows].join('\n'));
});

/** Runs an ES module with top-level await. */
async function run(code: string, scope: { require: (name: string) => unknown; console: object }): Promise<void> {
  const { code: body } = transformSync(code.replace(/^import (.*) from ('.*');$/gm, 'const $1 = require($2);'), {
    jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
    module: { type: 'es6' },
  });
  const main = compileFunction(`return (async () => { ${body} })();`, ['require', 'console']) as (
    require: (name: string) => unknown,
    console: object,
  ) => Promise<void>;
  await main(scope.require, scope.console);
}

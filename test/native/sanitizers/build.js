'use strict';

const { spawnSync } = require('node:child_process');
const path = require('node:path');

const HEADERS = require('node-api-headers').include_dir;

function compile(compiler, sources, output, flags) {
  const [program, ...first] = compiler.trim().split(/\s+/);
  const common = ['-std=c++17', '-shared', '-fPIC', '-pthread', '-g', '-O1'];
  const args = [...first, ...common, ...sources.map((source) => path.join(__dirname, source)), ...flags, '-o', output];
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed: ${error?.message ?? stderr}`);
  return output;
}

/** Builds the addon that commits faults, with the flags that make them seen. */
function buildPlanted({ compiler, sanitize, outDir }) {
  const flags = ['-fno-omit-frame-pointer', `-fsanitize=${sanitize.join(',')}`, `-I${HEADERS}`];
  return compile(compiler, ['planted.cc'], path.join(outDir, 'planted.node'), flags);
}

/** Builds the library that UndefinedBehaviorSanitizer needs beside AddressSanitizer. */
function buildUbsanReports({ compiler, outDir }) {
  const flags = ['-Wl,--no-as-needed', '-lubsan', '-ldl'];
  return compile(compiler, ['ubsan_reports.cc'], path.join(outDir, 'ubsan_reports.so'), flags);
}

/** Builds the addon that says when LeakSanitizer is to look, and where a process is that ends by SIGSEGV. */
function buildLeakCheck({ compiler, outDir }) {
  const sources = ['leak_check.cc', 'crash_stack.cc'];
  return compile(compiler, sources, path.join(outDir, 'leak_check.node'), [`-I${HEADERS}`, '-ldl']);
}

module.exports = { buildLeakCheck, buildPlanted, buildUbsanReports };

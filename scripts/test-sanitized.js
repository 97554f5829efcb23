#!/usr/bin/env node
'use strict';

// Runs the shim's tests with a sanitizer in the addon, its bridge and the stand-in.
//
//   node scripts/test-sanitized.js asan|tsan|leak [argument of jest, in place of the shim's tests...]
//
// Any report of the sanitizer fails the run, of child processes as well. Before the tests come faults that are committed on
// purpose: the run fails when the sanitizer says nothing about one of them.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { withLock } = require('./file-lock');
const { SHIM_TESTS, failureOf, runJest } = require('./native-tests');
const { compilerFor, missingTools } = require('./native-tools');
const { repeatedRun } = require('./repeated-run');
const { SanitizerError, sanitizedEnvironment } = require('./sanitizers');
const { buildLeakCheck, buildPlanted, buildUbsanReports } = require('../test/native/sanitizers/build');
const { buildStandIn } = require('../test/native/standin/build');

const root = path.resolve(__dirname, '..');

/** Children that end by a signal as a test wants it are no finding, and how they end is what the test looks at. */
const SIGNALS = { handle_segv: 0, handle_sigbus: 0, handle_abort: 0, handle_sigfpe: 0, handle_sigill: 0 };

/**
 * `faults` are those of test/native/sanitizers with the words that a report of them has; `workers` tells jest how many
 * processes to use; `settings` are the runtime's, with what all have in common about reports. A run for leaks is repeated
 * once after a crash: see repeated-run.js.
 */
const KINDS = {
  asan: {
    sanitize: ['address', 'undefined'],
    faults: {
      'heap-overflow': 'heap-buffer-overflow',
      'use-after-free': 'heap-use-after-free',
      'signed-overflow': 'signed integer overflow',
    },
    workers: '--maxWorkers=100%',
    settings: (reports) => ({
      // What Node keeps until it ends is the business of the leak run.
      ASAN_OPTIONS: { detect_leaks: 0, detect_stack_use_after_return: 1, ...SIGNALS, ...reports },
      UBSAN_OPTIONS: { halt_on_error: 1, print_stacktrace: 1, ...reports },
    }),
  },
  tsan: {
    sanitize: ['thread'],
    faults: { race: 'data race' },
    workers: '--maxWorkers=100%',
    settings: (reports) => ({
      TSAN_OPTIONS: { ignore_noninstrumented_modules: 1, second_deadlock_stack: 1, ...SIGNALS, ...reports },
    }),
  },
  leak: {
    sanitize: ['leak'],
    faults: { leak: 'detected memory leaks' },
    // A worker of jest exits at once, where leaks are not looked for.
    workers: '--runInBand',
    settings: (reports) => ({
      LSAN_OPTIONS: {
        suppressions: path.join(root, 'test/native/sanitizers/leak-suppressions.txt'),
        print_suppressions: 0,
        // See test/native/sanitizers/leak_check.cc.
        leak_check_at_exit: 0,
        ...SIGNALS,
        ...reports,
      },
    }),
  },
};

class RunError extends Error {}

/** The reports that were written since the last time. */
function takeReports(folder) {
  return fs.readdirSync(folder).map((name) => {
    const file = path.join(folder, name);
    const text = fs.readFileSync(file, 'utf8');
    fs.rmSync(file);
    return `${name}:\n${text}`;
  });
}

/** Each fault is committed in a process of jest and in a child of one. */
function provePlantedFaults({ faults }, planted, reports, env) {
  for (const [fault, words] of Object.entries(faults)) {
    for (const where of ['this', 'another']) {
      const { stdout, stderr } = runJest({
        args: ['--runInBand', '--config', 'test/native/sanitizers/jest.config.js', '-t', `in ${where} process`],
        env: { ...env, DATADIST_TEST_PLANTED: planted, DATADIST_TEST_FAULT: fault },
        stdio: 'pipe',
      });
      const found = takeReports(reports);
      if (!found.some((report) => report.includes(words))) {
        throw new RunError(
          `the sanitizer said nothing about a ${fault} in ${where} process, so it would not notice others either\n` +
            [...found, stdout, stderr].join('\n'),
        );
      }
      console.log(`a planted ${fault} in ${where} process was noticed`);
    }
  }
}

function build({ sanitize }, outDir, compiler) {
  const script = path.join(__dirname, 'build-native.js');
  const { status } = spawnSync(process.execPath, [script, '--out', outDir, '--sanitize', sanitize.join(',')], {
    stdio: 'inherit',
  });
  if (status !== 0) throw new RunError('the addon could not be built; the messages of the build are above');
  return {
    addon: path.join(outDir, 'llm_datadist.node'),
    planted: buildPlanted({ compiler, sanitize, outDir }),
    standIn: buildStandIn({ cxx: compiler, outDir: path.join(outDir, 'standin'), sanitize }),
  };
}

/** What a runtime needs beside it. */
function accompanied(sanitize, where, runtime, log) {
  if (sanitize.includes('undefined')) {
    return { LD_PRELOAD: `${runtime}:${buildUbsanReports(where)}`, DATADIST_TEST_UBSAN_REPORTS: log };
  }
  if (sanitize.includes('leak')) {
    const required = path.join(root, 'test/native/sanitizers/leak-check.js');
    return { DATADIST_TEST_LEAK_CHECK: buildLeakCheck(where), NODE_OPTIONS: `--require=${JSON.stringify(required)}` };
  }
  return {};
}

/** What the tests run in; reports go to the folder. */
function environmentOf({ sanitize, settings }, { addon, standIn }, outDir, compiler, reports) {
  const log = path.join(reports, 'report');
  const env = sanitizedEnvironment(sanitize, compiler, settings({ log_path: log, log_exe_name: 1 }));
  return {
    ...env,
    ...accompanied(sanitize, { compiler, outDir }, env.LD_PRELOAD, log),
    // Compilers that tests run are not what is looked at.
    CXX: `env -u LD_PRELOAD ${compiler}`,
    LLM_DATADIST_ADDON: addon,
    LLM_DATADIST_LIBRARY: standIn.library,
  };
}

function test(kind, outDir, args) {
  const compiler = compilerFor(process.arch);
  const built = build(KINDS[kind], outDir, compiler);
  const reports = path.join(outDir, 'reports');
  fs.rmSync(reports, { recursive: true, force: true });
  fs.mkdirSync(reports);
  const env = environmentOf(KINDS[kind], built, outDir, compiler, reports);
  provePlantedFaults(KINDS[kind], built.planted, reports, env);
  const run = () => runJest({ args: [KINDS[kind].workers, ...(args.length > 0 ? args : [SHIM_TESTS])], env });
  const { ended, found } =
    kind === 'leak'
      ? repeatedRun({ run, takeReports: () => takeReports(reports), say: console.error })
      : { ended: run(), found: takeReports(reports) };
  const failure = failureOf(ended);
  if (found.length > 0) throw new RunError(`${found.length} reports of the sanitizer:\n${found.join('\n')}`);
  if (failure !== undefined) throw new RunError(`the tests failed (${failure}), without a report of the sanitizer`);
  console.log(`${kind}: the tests passed, and the sanitizer had nothing to say about them`);
}

function main([kind = '', ...args]) {
  if (!Object.hasOwn(KINDS, kind)) throw new RunError(`say which: ${Object.keys(KINDS).join(', ')}`);
  const missing = missingTools();
  if (missing.length > 0) throw new RunError(`nothing can be built on this host: install ${missing.join(', and ')}`);
  const outDir = path.join(root, 'build', kind);
  withLock(path.join(outDir, 'test-lock'), () => {
    test(kind, outDir, args);
  });
}

try {
  main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof RunError) && !(error instanceof SanitizerError)) throw error;
  console.error(`test-sanitized: ${error.message}`);
  process.exitCode = 1;
}

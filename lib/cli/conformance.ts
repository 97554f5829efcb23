#!/usr/bin/env node
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { BackendSource } from '../conformance/backends';
import { mockBackends, nativeBackends } from '../conformance/backends';
import { formatDifference } from '../conformance/difference';
import { ScenarioError } from '../conformance/fields';
import { guardRefusals } from '../conformance/guard-refusals';
import { runScenario } from '../conformance/runner';
import type { ReadScenario } from '../conformance/scenario-file';
import { readScenarios } from '../conformance/scenario-file';
import { LLMBackendError } from '../exception';

/** Where the command prints; `console` is one. */
export interface Output {
  log(line: string): void;
  error(line: string): void;
}

const USAGE = `usage: npm run conformance -- [--backend mock|native] [--dir DIR]... [--jsonl FILE]... [--guards]

Makes the calls of recorded scenarios and compares what comes of them with what the vendor's library did.

  --backend mock|native  what does the work, default mock
  --dir DIR              the *.json files of a folder, or scenarios/*.json and random.jsonl where it has them
  --jsonl FILE           scenarios of a file, one per line
                         without --dir and --jsonl: the recordings in test/conformance/recordings
  --guards               instead: print which recorded calls the package's guards refuse
  --help                 print this

Prints one line per difference, and at the end "N passed, N failed" (scenarios).
Exit code: 0 all passed, 1 some failed or are malformed, 2 wrong usage or nothing to run.`;

const RECORDINGS = join(__dirname, '..', '..', 'test', 'conformance', 'recordings');

const BACKENDS: Readonly<Record<string, BackendSource>> = { mock: mockBackends, native: nativeBackends };

class UsageError extends Error {}

/** Runs the command. @returns the exit code */
export async function main(argv: readonly string[], out: Output): Promise<number> {
  try {
    const { help, source, paths, guards } = readArguments(argv);
    if (help) {
      out.log(USAGE);
      return 0;
    }
    const scenarios = readScenarios(...paths);
    if (scenarios.length === 0) throw new UsageError(`there are no scenarios in ${paths.join(', ')}`);
    return guards ? await printRefusals(scenarios, source, out) : await printDifferences(scenarios, source, out);
  } catch (error) {
    if (!(error instanceof UsageError || error instanceof ScenarioError || error instanceof LLMBackendError))
      throw error;
    out.error(`conformance: ${error.message}`);
    if (error instanceof UsageError) out.error('Try --help.');
    return 2;
  }
}

function readArguments(argv: readonly string[]) {
  const { help, guards, backend, dir, jsonl } = parse(argv);
  const source = Object.hasOwn(BACKENDS, backend) ? BACKENDS[backend] : undefined;
  if (source === undefined) {
    throw new UsageError(`unknown backend "${backend}"; there are ${Object.keys(BACKENDS).join(' and ')}`);
  }
  const paths = [...dir, ...jsonl];
  if (paths.length === 0 && !help) {
    if (!existsSync(RECORDINGS)) {
      throw new UsageError(`there are no recordings in ${RECORDINGS}: name some with --dir or --jsonl`);
    }
    paths.push(RECORDINGS);
  }
  return { help, guards, source, paths };
}

function parse(argv: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        backend: { type: 'string', default: 'mock' },
        dir: { type: 'string', multiple: true, default: [] },
        jsonl: { type: 'string', multiple: true, default: [] },
        guards: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    return values;
  } catch (error) {
    // Everything that parseArgs throws is about the arguments.
    throw new UsageError((error as Error).message);
  }
}

async function printDifferences(
  scenarios: readonly ReadScenario[],
  source: BackendSource,
  out: Output,
): Promise<number> {
  let failed = 0;
  for (const scenario of scenarios) {
    const lines =
      scenario instanceof ScenarioError
        ? [scenario.message]
        : (await runScenario(scenario, source)).map(formatDifference);
    for (const line of lines) out.log(line);
    if (lines.length > 0) failed += 1;
  }
  out.log(`${scenarios.length - failed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

async function printRefusals(scenarios: readonly ReadScenario[], source: BackendSource, out: Output): Promise<number> {
  const malformed = scenarios.filter((scenario) => scenario instanceof ScenarioError);
  const wellFormed = scenarios.flatMap((scenario) => (scenario instanceof ScenarioError ? [] : [scenario]));
  for (const { message } of malformed) out.log(message);
  const refusals = await guardRefusals(wellFormed, source);
  for (const { scenario, step, op, rule, recorded } of refusals) {
    out.log(`${scenario}: step ${step} (${op}): refused by ${rule}, recorded ${recorded}`);
  }
  const refusing = new Set(refusals.map(({ scenario }) => scenario));
  out.log(`${refusals.length} recorded calls of ${refusing.size} scenarios are refused by guards`);
  return malformed.length === 0 ? 0 : 1;
}

if (require.main === module) {
  void main(process.argv.slice(2), console).then((code) => {
    process.exitCode = code;
  });
}

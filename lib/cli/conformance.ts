#!/usr/bin/env node
import { BackendModuleError } from '../conformance/backend-module';
import { namedBackends } from '../conformance/backends';
import { childHosts } from '../conformance/child-host';
import { formatDifference } from '../conformance/difference';
import { ScenarioError } from '../conformance/fields';
import { guardRefusals } from '../conformance/guard-refusals';
import type { HostSource } from '../conformance/host';
import { inJobs } from '../conformance/jobs';
import { localHosts } from '../conformance/local-host';
import { runScenarioOn } from '../conformance/runner';
import type { ReadScenario } from '../conformance/scenario-file';
import { readScenarios } from '../conformance/scenario-file';
import { LLMBackendError } from '../exception';
import type { ConformanceOptions, Selection } from './conformance/options';
import { parseOptions, USAGE, UsageError } from './conformance/options';
import { ProcessOutput } from './conformance/process-output';

/** Where the command prints; `console` is one. */
export interface Output {
  log(line: string): void;
  error(line: string): void;
}

/** Runs the command. @returns the exit code */
export async function main(argv: readonly string[], out: Output): Promise<number> {
  try {
    const options = parseOptions(argv);
    if (options === undefined) {
      out.log(USAGE);
      return 0;
    }
    const scenarios = selected(options);
    return options.guards
      ? await printRefusals(scenarios, options, out)
      : await printDifferences(scenarios, options, out);
  } catch (error) {
    if (!isExpected(error)) throw error;
    out.error(`conformance: ${error.message}`);
    if (error instanceof UsageError) out.error('Try --help.');
    return 2;
  }
}

function isExpected(error: unknown): error is Error {
  return [UsageError, ScenarioError, LLMBackendError, BackendModuleError].some((kind) => error instanceof kind);
}

/** Malformed scenarios are always among them: nobody knows what they would have been. */
function selected({ paths, selection }: ConformanceOptions): readonly ReadScenario[] {
  const read = readScenarios(...paths);
  if (read.length === 0) throw new UsageError(`there are no scenarios in ${paths.join(', ')}`);
  const scenarios = read.filter((scenario) => scenario instanceof ScenarioError || isSelected(scenario, selection));
  if (scenarios.length > 0) return scenarios;
  throw new UsageError(`none of the ${read.length} scenarios has the tags and the name that are asked for`);
}

function isSelected(
  { name, tags }: Exclude<ReadScenario, ScenarioError>,
  { tags: wanted, notTags, names }: Selection,
): boolean {
  return (
    (wanted.length === 0 || wanted.some((tag) => tags.includes(tag))) &&
    !notTags.some((tag) => tags.includes(tag)) &&
    (names.length === 0 || names.some((text) => name.includes(text)))
  );
}

async function printDifferences(
  scenarios: readonly ReadScenario[],
  options: ConformanceOptions,
  out: Output,
): Promise<number> {
  const output = new ProcessOutput();
  const source = hostsOf(options, output);
  let failed = 0;
  const play = async (scenario: ReadScenario) => {
    if (scenario instanceof ScenarioError) return { lines: [scenario.message], printed: [] };
    const differences = await runScenarioOn(source, scenario);
    return { lines: differences.map(formatDifference), printed: output.take(scenario.name) };
  };
  await inJobs(scenarios, options.jobs, play, ({ lines, printed }) => {
    if (lines.length === 0) return;
    failed += 1;
    for (const line of printed) out.error(line);
    for (const line of lines) out.log(line);
  });
  out.log(`${scenarios.length - failed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

function hostsOf({ backend, processes, limitMs }: ConformanceOptions, output: ProcessOutput): HostSource {
  if (processes === 'none') return localHosts(namedBackends(backend, { alone: false }));
  return childHosts({ backend, processes, limitMs, onLine: output.add.bind(output) });
}

async function printRefusals(
  scenarios: readonly ReadScenario[],
  { backend }: ConformanceOptions,
  out: Output,
): Promise<number> {
  const malformed = scenarios.filter((scenario) => scenario instanceof ScenarioError);
  const wellFormed = scenarios.flatMap((scenario) => (scenario instanceof ScenarioError ? [] : [scenario]));
  for (const { message } of malformed) out.log(message);
  const refusals = await guardRefusals(wellFormed, namedBackends(backend, { alone: false }));
  for (const { scenario, step, op, rule, recorded } of refusals) {
    out.log(`${scenario}: step ${step} (${op}): refused by ${rule}, recorded ${recorded}`);
  }
  const refusing = new Set(refusals.map(({ scenario }) => scenario));
  out.log(`${refusals.length} recorded calls of ${refusing.size} scenarios are refused by guards`);
  return malformed.length === 0 ? 0 : 1;
}

if (require.main === module) {
  // Nobody reads on, so there is nobody to run the rest for.
  process.stdout.on('error', () => {
    process.exit(1);
  });
  void main(process.argv.slice(2), console).then((code) => {
    process.exitCode = code;
  });
}

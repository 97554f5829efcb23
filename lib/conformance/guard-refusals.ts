import { RULES } from '../guard/rule';
import type { Rule } from '../guard/rule';
import { LLMStatusCode } from '../status';
import type { BackendSource } from './backends';
import { formatDifference, statusText } from './difference';
import type { Outcome } from './host';
import { localHosts } from './local-host';
import { ScenarioRun } from './runner';
import type { Scenario } from './scenario';
import type { Step } from './step';

/** A recorded call that the package refuses, on purpose, before the library sees it. */
export interface GuardRefusal {
  readonly scenario: string;
  /** Index of the step, from 0. */
  readonly step: number;
  readonly op: string;
  readonly rule: Rule;
  /** What the library answered. */
  readonly recorded: string;
}

/**
 * Makes the calls of scenarios with the package's guards on, and says which of them a guard refuses although the
 * library answered something else than `LLM_PARAM_INVALID`.
 *
 * A refusal changes what comes after it. Guards look at nothing but the arguments, the node's own registrations and
 * whether it is initialised, so a step is left out when one of these is not as recorded: it names a cache whose
 * registration was refused, or its node's `init` did not end as recorded (until that is finalized). All other steps
 * are made; that their bytes and statuses may differ from the recording then is not looked at.
 */
export async function guardRefusals(scenarios: Iterable<Scenario>, source: BackendSource): Promise<GuardRefusal[]> {
  const refusals: GuardRefusal[] = [];
  for (const scenario of scenarios) {
    const run = new ScenarioRun(scenario, localHosts(source), { guards: true });
    try {
      const [failure] = await run.start();
      if (failure !== undefined) throw new Error(formatDifference(failure));
      refusals.push(...(await refusalsOf(scenario, run)));
    } finally {
      await run.end();
    }
  }
  return refusals;
}

async function refusalsOf(scenario: Scenario, run: ScenarioRun): Promise<GuardRefusal[]> {
  const refusals: GuardRefusal[] = [];
  const lost = new Set<string>();
  for (const [index, step] of scenario.steps.entries()) {
    if (step.op === 'finalize') lost.delete(step.node);
    if (lost.has(step.node)) continue;
    const outcome = await run.make(step);
    const rule = ruleOf(outcome);
    if (rule !== undefined && 'status' in step && step.status !== LLMStatusCode.LLM_PARAM_INVALID) {
      const { op, status } = step;
      refusals.push({ scenario: scenario.name, step: index, op, rule, recorded: statusText(status) });
    }
    if (step.op === 'init' && succeeded(outcome) !== isSuccess(step)) lost.add(step.node);
  }
  return refusals;
}

function succeeded(outcome: Outcome): boolean {
  return outcome.kind === 'success';
}

function isSuccess(step: Step): boolean {
  return !('status' in step) || step.status === LLMStatusCode.LLM_SUCCESS;
}

/** Guards name their rule at the beginning of the remedy. */
function ruleOf(outcome: Outcome): Rule | undefined {
  if (outcome.kind !== 'refused') return undefined;
  const [, rule = ''] = /^Rule ([a-z-]+):/.exec(outcome.remedy) ?? [];
  return Object.hasOwn(RULES, rule) ? (rule as Rule) : undefined;
}

const EXAMPLES = 3;

/** The refusals as a Markdown table, one row per rule that refuses anything, in the order of `GUARD_RULES`. */
export function guardRefusalTable(refusals: readonly GuardRefusal[]): string {
  const rows = Object.keys(RULES).flatMap((rule) => {
    const ofRule = refusals.filter((refusal) => refusal.rule === rule);
    return ofRule.length === 0 ? [] : [`| \`${rule}\` | ${ofRule.length} | ${examples(ofRule)} |`];
  });
  return ['| rule | recorded calls refused | examples (scenario, step) |', '| --- | ---: | --- |', ...rows].join('\n');
}

/** Of different scenarios as far as there are some. */
function examples(refusals: readonly GuardRefusal[]): string {
  const isFirst = ({ scenario }: GuardRefusal, i: number) =>
    refusals.findIndex((other) => other.scenario === scenario) === i;
  const others = refusals.filter((refusal, i) => !isFirst(refusal, i));
  const chosen = [...refusals.filter(isFirst), ...others].slice(0, EXAMPLES);
  const texts = chosen.map(({ scenario, step }) => `${scenario}, ${step}`);
  return [...texts, ...(refusals.length > EXAMPLES ? ['…'] : [])].join('; ');
}

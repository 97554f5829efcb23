import { LLMStatusCode } from '../status';
import type { Difference, DifferenceKind } from './difference';
import { statusText } from './difference';
import type { Crc, Outcome } from './host';
import type { Step } from './step';

/** A step of a scenario. */
export interface StepPlace {
  readonly scenario: string;
  /** From 0. */
  readonly index: number;
  readonly step: Step;
}

/** In what the outcome of a step differs from the recording; the bytes after it are not looked at. */
export function compareOutcome({ scenario, index, step }: StepPlace, outcome: Outcome): Difference[] {
  const { op, node } = step;
  const differences: Difference[] = [];
  const message = outcome.kind === 'refused' && { message: outcome.message };
  const differ = (kind: DifferenceKind, expected: string, got: string) => {
    if (expected !== got) differences.push({ scenario, step: index, op, node, kind, expected, got, ...message });
  };
  const expected = recordedStatus(step);
  switch (outcome.kind) {
    case 'not made':
      differ('not made', outcome.needed, outcome.found);
      return differences;
    case 'broken':
      differ(outcome.difference, expected, outcome.error);
      return differences;
    case 'success':
      differ('status', expected, statusText(LLMStatusCode.LLM_SUCCESS));
      break;
    case 'refused':
      differ('status', expected, statusText(outcome.status));
      break;
  }
  if (step.op === 'link' || step.op === 'unlink') {
    differ('results', resultsText(step.results), resultsText(outcome.results ?? []));
  }
  if (step.op === 'register' && step.cacheId !== undefined && outcome.kind === 'success') {
    differ('cacheId', String(step.cacheId), String(outcome.cacheId));
  }
  return differences;
}

/** In what the bytes of a cache after a step differ from the recording. */
export function compareBytes(
  { scenario, index, step: { op, node } }: StepPlace,
  cache: string,
  expected: string,
  actual: Crc,
): Difference[] {
  const place = { scenario, step: index, op, node, cache };
  if ('error' in actual) {
    return [{ ...place, kind: 'memory', expected: `the bytes of cache ${cache}`, got: actual.error }];
  }
  return actual.crc === expected ? [] : [{ ...place, kind: 'crc', expected, got: actual.crc }];
}

/** The status that a step must have; finalize has none, and cannot fail. */
export function recordedStatus(step: Step): string {
  return statusText('status' in step ? step.status : LLMStatusCode.LLM_SUCCESS);
}

function resultsText(results: readonly number[]): string {
  return `[${results.map(statusText).join(', ')}]`;
}

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Scenario } from './scenario';
import { loadScenarios } from './scenario-file';

/** Beside this file in the package, written when it is built; in a checkout the files that it is made of. */
export const PACKED_SCENARIOS = join(__dirname, 'scenarios.jsonl.gz');
const CHECKOUT = join(__dirname, '..', '..', 'test', 'conformance');

let loaded: readonly Scenario[] | undefined;

/**
 * The scenarios that come with the package: the recordings of the vendor's library, made by hand and at random, and more
 * with its answers where the mock was once found to differ. They are read once.
 */
export function shippedScenarios(): readonly Scenario[] {
  loaded ??= Object.freeze(loadScenarios(...shippedPaths()));
  return loaded;
}

function shippedPaths(): readonly string[] {
  return existsSync(PACKED_SCENARIOS)
    ? [PACKED_SCENARIOS]
    : [join(CHECKOUT, 'recordings'), join(CHECKOUT, 'differential.jsonl')];
}

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BUNDLED, modulesFolder } from '../package-files';
import type { Scenario } from './scenario';
import { loadScenarios } from './scenario-file';

let loaded: readonly Scenario[] | undefined;

/**
 * The scenarios that come with the package: the recordings of the vendor's library, made by hand and at random, and more
 * with its answers where the mock was once found to differ. They are read once.
 *
 * @throws Error in a bundle, which does not have them
 */
export function shippedScenarios(): readonly Scenario[] {
  loaded ??= Object.freeze(loadScenarios(...shippedPaths()));
  return loaded;
}

function shippedPaths(): readonly string[] {
  const modules = modulesFolder();
  if (modules === undefined) throw new Error(`There is no file of scenarios: ${BUNDLED}.`);
  const packed = packedScenarios(modules);
  const checkout = join(modules, '..', 'test', 'conformance');
  return existsSync(packed) ? [packed] : [join(checkout, 'recordings'), join(checkout, 'differential.jsonl')];
}

/** Among the modules of the package, written when it is built; in a checkout there are the files that it is made of. */
export function packedScenarios(modules: string): string {
  return join(modules, 'conformance', 'scenarios.jsonl.gz');
}

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { variable } from '../environment';
import type { Environment } from '../environment';
import { fileProblem } from './binary-file';
import { absolutePath } from './places';

export const ADDON_NAME = 'llm_datadist.node';

/** What `LLM_DATADIST_ADDON` names: a path, relative ones to the working directory. */
export function chosenAddon(env: Environment = process.env): string | undefined {
  const chosen = variable('LLM_DATADIST_ADDON', env);
  return chosen === undefined ? undefined : absolutePath(chosen);
}

/**
 * The files to try, in this order: what `LLM_DATADIST_ADDON` names, and no other then; what a build has made; what the
 * package brings along.
 * @param packageRoot `undefined` in a bundle, which has no other file than the chosen one
 */
export function addonFiles(packageRoot: string | undefined, env: Environment = process.env): readonly string[] {
  const chosen = chosenAddon(env);
  if (chosen !== undefined) return [chosen];
  if (packageRoot === undefined) return [];
  const built = join(packageRoot, 'build', 'Release', ADDON_NAME);
  const brought = join(packageRoot, 'prebuilds', `${process.platform}-${process.arch}`, ADDON_NAME);
  const mayBeBuilt = isRepository(packageRoot) || fileProblem(built)?.kind !== 'missing';
  return mayBeBuilt ? [built, brought] : [brought];
}

/** Why the file cannot be the addon, before it is loaded. */
export function addonProblem(path: string, packageRoot: string | undefined): string | undefined {
  const problem = fileProblem(path);
  if (problem?.kind !== 'missing' || chosenAddon() !== undefined) return problem?.text;
  return isRepository(packageRoot)
    ? `${problem.text}: the addon was not built (npm run build:native)`
    : `${problem.text}: the package brings no addon for ${process.platform}-${process.arch}`;
}

/** What to do with an addon of another version than the package. */
export function renewal(packageRoot: string | undefined): string {
  return chosenAddon() === undefined && !isRepository(packageRoot) ? 'install the package again' : 'build it anew';
}

/** Whether this is a clone of the repository, where the addon can be built: an installed package lacks the script. */
function isRepository(packageRoot: string | undefined): boolean {
  return packageRoot !== undefined && existsSync(join(packageRoot, 'scripts', 'build-native.js'));
}

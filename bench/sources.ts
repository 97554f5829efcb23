import { existsSync } from 'node:fs';
import { join } from 'node:path';

/**
 * A path in the package's folder, which npm runs its scripts in: compiled benchmarks lie elsewhere than what they build.
 * @throws Error in any other folder
 */
export function inPackage(...names: readonly string[]): string {
  const root = process.cwd();
  if (existsSync(join(root, 'native', 'sources.txt'))) return join(root, ...names);
  throw new Error(`${root} is not the folder of the package: run the benchmarks with npm run bench`);
}

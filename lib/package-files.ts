import { existsSync } from 'node:fs';
import { basename, dirname, extname, isAbsolute, join } from 'node:path';

/** Why a file of this package is not there, in a program that a bundler has made one file of. */
export const BUNDLED =
  'this program is a bundle, and the files of llm-datadist are no part of it: mark llm-datadist as external in the ' +
  'bundler, and install it where the program runs';

/**
 * The folder of this package's modules: `dist`, or `lib` in a checkout. `undefined` in a bundle. A bundler leaves out
 * `__filename`, or makes it the name of the bundle or of nothing. Bun keeps the name that the module has where it bundles.
 */
export function modulesFolder(file = ownFile()): string | undefined {
  if (file === undefined || !isAbsolute(file)) return undefined;
  return basename(file, extname(file)) === 'package-files' && existsSync(file) ? dirname(file) : undefined;
}

/**
 * A module of this package, as a file that another process can run.
 * @param name below the folder of modules, without extension
 * @throws Error in a bundle
 */
export function moduleFile(name: string, file = ownFile()): string {
  const folder = modulesFolder(file);
  if (file === undefined || folder === undefined) throw new Error(`There is no file ${name}.js to run: ${BUNDLED}.`);
  return `${join(folder, name)}${extname(file)}`;
}

function ownFile(): string | undefined {
  return typeof __filename === 'string' ? __filename : undefined;
}

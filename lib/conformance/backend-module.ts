import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import type { BackendFactory } from '../backend/backend';

/** A module that was to make backends cannot be loaded, or does not export a function. */
export class BackendModuleError extends Error {
  override readonly name = 'BackendModuleError';
}

/**
 * The function that a module exports, as `module.exports` or as `default`.
 * @param path of a JavaScript file, relative to the working directory
 * @throws BackendModuleError
 */
export function loadBackendModule(path: string): BackendFactory {
  const exported = loadModule(resolve(path));
  const { default: preset } = Object(exported) as { readonly default?: unknown };
  const factory = typeof exported === 'function' ? exported : preset;
  if (typeof factory === 'function') return factory as BackendFactory;
  throw new BackendModuleError(
    `The module ${path} makes no backends: it must export a function of cluster id and role ` +
      `(module.exports = ... or export default ...).`,
  );
}

function loadModule(path: string): unknown {
  try {
    // The file is not known when this one is compiled.
    return createRequire(path)(path);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BackendModuleError(`The module ${path} cannot be loaded: ${reason}`, { cause });
  }
}

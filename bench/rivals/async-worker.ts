import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { inPackage } from '../sources';
import { compile } from './compiler';

/** What rivals/async-worker/async_worker.cc exports. */
export interface AsyncWorkerRival {
  /** A call that does nothing. */
  nothing(): unknown;
  /** An object of C++ with a method that does nothing. */
  readonly Wrapped: new () => { nothing(): unknown };
  /** Resolves when a thread of libuv's pool had a look at it. */
  roundTrip(): Promise<void>;
  /** Resolves when a thread of libuv's pool has slept so many milliseconds. */
  sleep(ms: number): Promise<void>;
}

/** An addon can be loaded in no other way, whatever this file is compiled to. */
const load = createRequire(__filename);

/** Builds the addon where that was not done, and loads it. */
export function loadAsyncWorker(): AsyncWorkerRival {
  const packages = createRequire(inPackage('package.json'));
  const source = inPackage('bench', 'rivals', 'async-worker', 'async_worker.cc');
  const output = inPackage('build', 'rivals', 'async_worker.node');
  const manifest = packages.resolve('node-addon-api/package.json');
  const { include_dir: headers } = packages('node-api-headers') as { readonly include_dir: string };
  // As the addon of the package is built.
  const defines = ['NAPI_VERSION=8', 'NODE_ADDON_API_CPP_EXCEPTIONS_ALL', 'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS'];
  const includes = [dirname(manifest), headers].flatMap((path) => ['-isystem', path]);
  compile(output, [...defines.map((define) => `-D${define}`), ...includes, source], [source, manifest]);
  return load(output) as AsyncWorkerRival;
}

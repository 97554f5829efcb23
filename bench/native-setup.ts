import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import type * as Build from '../test/native/standin/build';
import type { StandInBuild } from '../test/native/standin/build';
import type * as Control from '../test/native/standin/control';
import type { StandIn } from '../test/native/standin/control';
import type { LLMDataDistOptions } from '../lib';
import { requireCompiler } from './rivals/compiler';
import { inPackage } from './sources';
import { Unavailable } from './unavailable';

/** The package's own instances, over the stand-in: so many of them that a program would have no use for. */
export const NATIVE: LLMDataDistOptions = { backend: 'native', allowMultipleInstances: true };

const STAND_IN = ['test', 'native', 'standin'];
const load = createRequire(__filename);

/**
 * Builds the stand-in, and makes it the library of this process: it is loaded with the first instance, and stays.
 * @throws Unavailable where there is no compiler, or the addon was not built
 */
export function prepareNative(): StandInBuild {
  const { LLM_DATADIST_ADDON: chosen = '' } = process.env;
  const addon = chosen === '' ? inPackage('build', 'Release', 'llm_datadist.node') : chosen;
  if (!existsSync(addon)) throw new Unavailable(`the addon was not built, there is no ${addon}: npm run build:native`);
  requireCompiler();
  const { buildStandIn } = load(inPackage(...STAND_IN, 'build.js')) as typeof Build;
  const build = buildStandIn();
  process.env.LLM_DATADIST_ADDON = addon;
  process.env.LLM_DATADIST_LIBRARY = build.library;
  return build;
}

/** The controls of the stand-in, once an instance has loaded it. */
export function standInOf({ runtime }: StandInBuild): StandIn {
  const { control } = load(inPackage(...STAND_IN, 'control.js')) as typeof Control;
  return control(runtime);
}

import type { LLMBackendErrorInfo, LoadAttempt } from '../../backend-error';
import { FIND_THE_LIBRARY, LLMBackendError } from '../../backend-error';
import { variable } from '../environment';
import type { Environment } from '../environment';
import { chosenAddon } from './addon-file';
import { unsupportedHost } from './host-support';
import { chosenLibrary, DEFAULT_FOLDERS, homeFolder } from './places';

/** Why there is no native backend in this process. */
export interface LoadFailure {
  readonly attempts: readonly LoadAttempt[];
  /** In a few words, without the files. */
  readonly reason: string;
  readonly unsupported?: string;
  readonly notes: readonly string[];
  readonly advice: string;
  /** The variable that names a file which was asked for and cannot be had. */
  readonly askedFor?: 'LLM_DATADIST_ADDON' | 'LLM_DATADIST_LIBRARY';
}

/** No addon could be loaded, so that no library was looked for. */
export function addonFailure(attempts: readonly LoadAttempt[], env: Environment = process.env): LoadFailure {
  const unsupported = unsupportedHost();
  const chosen = chosenAddon(env);
  return {
    attempts,
    reason: unsupported ?? 'the addon cannot be loaded',
    ...(unsupported !== undefined && { unsupported }),
    notes: chosen === undefined ? [] : [`${setting('LLM_DATADIST_ADDON', env)}, so no other addon was tried.`],
    advice: unsupported === undefined ? addonAdvice(chosen) : "Choose backend: 'mock' on this host.",
    ...askedFor(env, 'LLM_DATADIST_ADDON', 'LLM_DATADIST_LIBRARY'),
  };
}

/** The addon was loaded, and could open no library. */
export function libraryFailure(attempts: readonly LoadAttempt[], env: Environment = process.env): LoadFailure {
  return {
    attempts,
    reason: 'the library cannot be loaded',
    notes: libraryNotes(env),
    advice: FIND_THE_LIBRARY,
    ...askedFor(env, 'LLM_DATADIST_LIBRARY'),
  };
}

/** @param more what is known besides */
export function backendError(failure: LoadFailure, more: LLMBackendErrorInfo = {}): LLMBackendError {
  const { attempts, unsupported, notes, advice } = failure;
  return new LLMBackendError(attempts, { unsupported, notes, advice, ...more });
}

function addonAdvice(chosen: string | undefined): string {
  const first = chosen === undefined ? '' : 'Unset LLM_DATADIST_ADDON, or set it to the file of an addon. ';
  return `${first}The library was not looked for. ${FIND_THE_LIBRARY}`;
}

function libraryNotes(env: Environment): string[] {
  const home = homeFolder(env);
  if (chosenLibrary(env) === undefined) {
    return home === undefined ? [] : [`${setting('ASCEND_HOME_PATH', env)}, so ${home} came first.`];
  }
  const excluded = [
    ...(home === undefined ? [] : [`${home} (ASCEND_HOME_PATH)`]),
    ...DEFAULT_FOLDERS,
    "the loader's search path",
  ];
  return [`${setting('LLM_DATADIST_LIBRARY', env)}, so no other place was tried: not ${excluded.join(', not ')}.`];
}

function setting(name: string, env: Environment): string {
  return `${name}=${env[name]} is set`;
}

/** The first of the variables that is set. */
function askedFor(env: Environment, ...names: NonNullable<LoadFailure['askedFor']>[]): Pick<LoadFailure, 'askedFor'> {
  const name = names.find((each) => variable(each, env) !== undefined);
  return name === undefined ? {} : { askedFor: name };
}

import { invalidArgType, outOfRange } from '../check';
import { editDistance } from '../edit-distance';
import { readControlAddress } from '../testing/shared/control-address';

/** The variables that this package reads, each with the check of its value. Empty counts as not set. */
const VARIABLES = {
  LLM_DATADIST_BACKEND: oneOf('auto', 'native', 'mock'),
  LLM_DATADIST_MOCK_FABRIC: oneOf('memory', 'tcp'),
  LLM_DATADIST_MOCK_CONTROL: (name, text) => readControlAddress(text, name, false),
  LLM_DATADIST_EXIT_TIMEOUT: milliseconds,
  // Whether a file can be loaded shows when it is loaded.
  LLM_DATADIST_LIBRARY: () => undefined,
  LLM_DATADIST_ADDON: () => undefined,
} as const satisfies Readonly<Record<string, (name: string, text: string) => unknown>>;

/** The variables of a process, as `process.env` has them; declared without the types of Node, which users may lack. */
export type Environment = Readonly<Record<string, string | undefined>>;

export type Variable = keyof typeof VARIABLES;

const NAMES = Object.keys(VARIABLES) as Variable[];
const PREFIX = 'LLM_DATADIST_';

/** What Kubernetes sets in every container for a service with the name llm-datadist. */
const OF_A_SERVICE = /^LLM_DATADIST_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/;

const MAX_MS = 0x7fff_ffff;

/**
 * The value of a variable; `undefined` where it is not set, or empty.
 * @throws TypeError, RangeError for a wrong value
 */
export function variable(name: Variable, env: Environment = process.env): string | undefined {
  const { [name]: text = '' } = env;
  if (text === '') return undefined;
  VARIABLES[name](name, text);
  return text;
}

/**
 * Checks the values of all variables, also those that are not needed now: a wrong one is found at the first instance, and
 * not when the one is made that needs it.
 *
 * @throws TypeError, RangeError that name the variable
 */
export function checkEnvironment(env: Environment = process.env): void {
  for (const name of NAMES) variable(name, env);
}

/** `LLM_DATADIST_EXIT_TIMEOUT`, where it is set. @throws RangeError */
export function exitTimeoutMs(env: Environment = process.env): number | undefined {
  const text = variable('LLM_DATADIST_EXIT_TIMEOUT', env);
  return text === undefined ? undefined : Number(text);
}

/** One warning per process and name. */
const warned = new Set<string>();

/**
 * Warns of variables with the prefix of the package that nothing reads. They are no error: other programs may have names
 * with the same prefix, and Kubernetes makes some of the name of a service.
 */
export function warnOfUnknownVariables(env: Environment = process.env): void {
  for (const name of Object.keys(env)) {
    if (!name.startsWith(PREFIX) || name in VARIABLES || OF_A_SERVICE.test(name) || warned.has(name)) continue;
    warned.add(name);
    process.emitWarning(
      `${name} is set, and nothing reads a variable with this name. The nearest one is ${nearestName(name)}; ` +
        `there are ${NAMES.join(', ')}.`,
      'LLMDataDistEnvironmentWarning',
    );
  }
}

function nearestName(name: string): Variable {
  const distances = NAMES.map((known) => ({ known, distance: editDistance(name.slice(0, 64), known) }));
  return distances.reduce((least, next) => (next.distance < least.distance ? next : least)).known;
}

function oneOf(...choices: readonly string[]) {
  const quoted = choices.map((choice) => `'${choice}'`);
  const expected = `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}`;
  return (name: string, text: string): string => {
    if (choices.includes(text)) return text;
    throw invalidArgType(name, expected, text);
  };
}

function milliseconds(name: string, text: string): number {
  // Number(' ') is 0, and Number('0x10') is 16.
  const ms = /^\d+$/.test(text) ? Number(text) : Infinity;
  if (ms > MAX_MS) throw outOfRange(name, `a whole number of milliseconds, >= 0 and <= ${MAX_MS}`, text);
  return ms;
}

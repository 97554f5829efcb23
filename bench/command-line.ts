import { parseArgs } from 'node:util';
import type { Suite } from './suite';

export interface CommandLine {
  readonly json: boolean;
  readonly quick: boolean;
  readonly check: boolean;
  readonly help: boolean;
  /** The suites to run, in the order in which they were given. */
  readonly suites: readonly Suite[];
  readonly rounds: number | undefined;
  readonly milliseconds: number | undefined;
}

export const USAGE = `Usage: npm run bench -- [options]

  --json            print JSON and nothing else; npm itself is quiet with "npm run --silent"
  --quick           fewer and shorter rounds, a minute in all
  --mock            run the suites of the mock backend only
  --native          run the suites of the native backend only
  --only NAME       run this suite only; may be given several times
  --check           exit with 1 when a goal is missed by more than the noise, or could not be measured
  --rounds N        rounds of each measurement, instead of the preset
  --milliseconds N  how long a round lasts at least, instead of the preset
  --help            print this text`;

/** @throws TypeError, RangeError for what {@link USAGE} does not list */
export function readCommandLine(args: readonly string[], suites: readonly Suite[]): CommandLine {
  const { values } = parseArgs({
    args: [...args],
    options: {
      json: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      mock: { type: 'boolean', default: false },
      native: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      rounds: { type: 'string' },
      milliseconds: { type: 'string' },
    },
  });
  const { json, quick, check, help, rounds, milliseconds } = values;
  return {
    json,
    quick,
    check,
    help,
    suites: select(suites, values),
    rounds: readCount('--rounds', rounds),
    milliseconds: readCount('--milliseconds', milliseconds),
  };
}

interface Selection {
  readonly only: readonly string[];
  readonly mock: boolean;
  readonly native: boolean;
}

function select(suites: readonly Suite[], { only, mock, native }: Selection): readonly Suite[] {
  const names = suites.map(({ name }) => name);
  const unknown = only.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new RangeError(`there is no suite "${unknown}"; there are ${names.join(', ')}`);
  const all = mock === native;
  const selected = suites.filter(
    ({ name, backend }) =>
      (only.length === 0 || only.includes(name)) && (all || backend === (mock ? 'mock' : 'native')),
  );
  if (selected.length > 0) return selected;
  throw new RangeError(`none of ${only.join(', ')} is a suite of the ${mock ? 'mock' : 'native'} backend`);
}

function readCount(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new RangeError(`${option} takes a number from 1 to 999999, not "${text}"`);
  return Number(text);
}

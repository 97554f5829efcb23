import { parseArgs } from 'node:util';

export interface CommandLine {
  readonly json: boolean;
  readonly quick: boolean;
  readonly check: boolean;
  readonly help: boolean;
  /** Names of suites; empty for all. */
  readonly only: readonly string[];
  readonly rounds: number | undefined;
  readonly milliseconds: number | undefined;
}

export const USAGE = `Usage: npm run bench -- [options]

  --json            print JSON and nothing else; npm itself is quiet with "npm run --silent"
  --quick           fewer and shorter rounds, half a minute in all
  --only NAME       run this suite only; may be given several times
  --check           exit with 1 when a goal is missed by more than the noise
  --rounds N        rounds of each measurement, instead of the preset
  --milliseconds N  how long a round lasts at least, instead of the preset
  --help            print this text`;

/** @throws TypeError, RangeError for what {@link USAGE} does not list */
export function readCommandLine(args: readonly string[], suites: readonly string[]): CommandLine {
  const { values } = parseArgs({
    args: [...args],
    options: {
      json: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      rounds: { type: 'string' },
      milliseconds: { type: 'string' },
    },
  });
  const unknown = values.only.find((name) => !suites.includes(name));
  if (unknown !== undefined) throw new RangeError(`there is no suite "${unknown}"; there are ${suites.join(', ')}`);
  return {
    ...values,
    rounds: readCount('--rounds', values.rounds),
    milliseconds: readCount('--milliseconds', values.milliseconds),
  };
}

function readCount(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new RangeError(`${option} takes a number from 1 to 999999, not "${text}"`);
  return Number(text);
}

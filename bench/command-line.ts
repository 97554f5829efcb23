import { parseArgs } from 'node:util';

export interface CommandLine {
  readonly json: boolean;
  readonly quick: boolean;
  readonly check: boolean;
  readonly help: boolean;
  /** Names of suites; empty for all. */
  readonly only: readonly string[];
}

export const USAGE = `Usage: npm run bench -- [options]

  --json       print JSON and nothing else
  --quick      fewer and shorter rounds, half a minute in all
  --only NAME  run this suite only; may be given several times
  --check      exit with 1 when a goal is missed by more than the noise
  --help       print this text`;

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
    },
  });
  const unknown = values.only.find((name) => !suites.includes(name));
  if (unknown !== undefined) throw new RangeError(`there is no suite "${unknown}"; there are ${suites.join(', ')}`);
  return values;
}

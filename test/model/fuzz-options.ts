import { parse, seedOf, UsageError, wholeNumber } from '../fixtures/seeded-command-line';

/** What the command line asks for. */
export interface FuzzOptions {
  readonly runs: number;
  readonly seed: number;
  readonly path: string | undefined;
}

export const USAGE = `usage: npm run fuzz -- [--runs N] [--seed S] [--path P]

Makes random calls on two to five mock instances and in a model of the specification, and compares after each what came
of it and the bytes of all caches. A run is up to 100 calls, besides those that make a cluster that works.

  --runs N   how many runs, 1 to 10000000; default 1000
  --seed S   where the random numbers start, 0 to 2147483647; the same seed gives the same runs. Default: a random one
  --path P   only the run that a failure named, which is found again at once; needs the seed that it named with it
  --help     print this

Prints the seed and how far it has come, and where they differ the shortest list of calls that shows it, with the command
that finds it again.
Exit code: 0 no difference, 1 a difference, 2 wrong usage.`;

const MAX_RUNS = 10_000_000;

const OPTIONS = {
  runs: { type: 'string' },
  seed: { type: 'string' },
  path: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

/**
 * @returns `undefined` when the help is asked for
 * @throws UsageError
 */
export function parseFuzzOptions(argv: readonly string[]): FuzzOptions | undefined {
  const { help, runs, seed, path } = parse(argv, OPTIONS);
  if (help) return undefined;
  if (path !== undefined && seed === undefined) throw new UsageError('--path needs the --seed that was named with it');
  if (path !== undefined && runs !== undefined)
    throw new UsageError('--path is one run: --runs has no meaning with it');
  if (path !== undefined && !/^\d+(:\d+)*$/.test(path)) {
    throw new UsageError(`--path ${path}: not whole numbers with colons between them`);
  }
  return {
    runs: wholeNumber('--runs', runs ?? '1000', 1, MAX_RUNS),
    seed: seedOf(seed),
    path,
  };
}

import { parse, seedOf, UsageError, wholeNumber } from '../fixtures/seeded-command-line';

export const BACKENDS = ['mock', 'tcp', 'native'] as const;
export type BackendName = (typeof BACKENDS)[number];

/** What the command line asks for. */
export interface Options {
  readonly count: number;
  readonly seed: number;
  /** The one interleaving that is to be run. */
  readonly only: number | undefined;
  readonly backends: readonly BackendName[];
}

export const USAGE = `usage: npm run interleavings -- [--count N] [--seed S] [--only I] [--backend mock|tcp|native]

Makes calls of every public method on two to four instances at once, with aborts, deadlines, faults, hangs, deaths and
collections at random moments. Every call has to settle and to be released; no row that was reported as received may differ
from its source; nothing may be left when all instances are finalized.

  --count N     how many interleavings, 1 to 10000000; default 3000. Interleaving I runs on the backend I modulo 3, or all run
                on the one of --backend
  --seed S      where the random numbers start, 0 to 2147483647; default: a random one
  --only I      only interleaving I, 0 or more; needs --seed. Prints its steps
  --backend B   mock: in memory; tcp: the mock over TCP; native: the addon over a stand-in of the vendor's library
  --help        print this

With mock the same seed gives the same interleavings; over sockets and threads only the same calls in the same order.
Prints the seed, and for a failure its number, the steps and the command that runs it again.
Exit code: 0 all held, 1 a failure, 2 wrong usage.`;

const MAX_COUNT = 10_000_000;

const OPTIONS = {
  count: { type: 'string' },
  seed: { type: 'string' },
  only: { type: 'string' },
  backend: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

/**
 * @returns `undefined` when the help is asked for
 * @throws UsageError
 */
export function parseOptions(argv: readonly string[]): Options | undefined {
  const { help, count = '3000', seed, only, backend } = parse(argv, OPTIONS);
  if (help) return undefined;
  if (only !== undefined && seed === undefined) throw new UsageError('--only needs the --seed of its run');
  const chosen = BACKENDS.filter((each) => backend === undefined || each === backend);
  if (chosen.length === 0) throw new UsageError(`--backend ${backend}: not one of ${BACKENDS.join(', ')}`);
  return {
    count: wholeNumber('--count', count, 1, MAX_COUNT),
    seed: seedOf(seed),
    only: only === undefined ? undefined : wholeNumber('--only', only, 0, MAX_COUNT),
    backends: chosen,
  };
}

/** The backend that an interleaving runs on. */
export function backendOf(index: number, { backends }: Options): BackendName {
  return backends[index % backends.length]!;
}

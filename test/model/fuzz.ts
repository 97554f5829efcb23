import type { RunOptions } from './comparison';
import { UsageError } from '../fixtures/seeded-command-line';
import { parseFuzzOptions, USAGE } from './fuzz-options';
import type { FuzzOptions } from './fuzz-options';
import { describeCounterexample, nextSeed, search } from './search';
import type { Counterexample } from './search';

/** Where the command prints; `console` is one. */
export interface Output {
  log(line: string): void;
  error(line: string): void;
}

/** Runs between two looks at how far it has come. */
const BATCH = 100;

/**
 * Runs the command.
 * @param newBackends makes what is compared with the model instead of mocks
 * @returns the exit code
 */
export async function main(
  argv: readonly string[],
  out: Output,
  newBackends?: RunOptions['newBackends'],
): Promise<number> {
  try {
    const options = parseFuzzOptions(argv);
    if (options === undefined) {
      out.log(USAGE);
      return 0;
    }
    const found = await fuzz(options, out, newBackends === undefined ? {} : { newBackends });
    if (found !== undefined) out.log(describeCounterexample(found));
    return found === undefined ? 0 : 1;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    out.error(`fuzz: ${error.message}`);
    out.error('Try --help.');
    return 2;
  }
}

async function fuzz(
  { runs, seed, path }: FuzzOptions,
  out: Output,
  backends: RunOptions,
): Promise<Counterexample | undefined> {
  out.log(`Seed ${seed}`);
  let calls = 0;
  const onCall = () => (calls += 1);
  if (path !== undefined) {
    const found = await search({ ...backends, seed, path, runs: 1 });
    if (found === undefined) out.log('This run shows no difference.');
    return found;
  }
  let batchSeed = seed;
  let told = 0;
  for (let done = 0; done < runs; batchSeed = nextSeed(batchSeed)) {
    const batch = Math.min(BATCH, runs - done);
    const found = await search({ ...backends, seed: batchSeed, runs: batch, onCall });
    if (found !== undefined) return found;
    done += batch;
    // A line for each tenth, however many runs there are.
    const tenths = Math.floor((10 * done) / runs);
    if (tenths > told) out.log(`${done} of ${runs} runs, ${calls} calls: no difference`);
    told = tenths;
  }
  return undefined;
}

if (require.main === module) {
  // Nobody reads on, so there is nobody to go on for.
  process.stdout.on('error', () => {
    process.exit(1);
  });
  void main(process.argv.slice(2), console).then((code) => {
    process.exitCode = code;
  });
}

import { fork } from 'node:child_process';
import { join } from 'node:path';
import type { Report, Work } from './child';
import { describeStep } from './describe-step';
import { planOf } from './generate';
import { UsageError } from '../fixtures/seeded-command-line';
import { backendOf, parseOptions, USAGE } from './options';
import type { BackendName, Options } from './options';

/** Where the command prints; `console` is one. */
export interface Output {
  log(line: string): void;
  error(line: string): void;
}

export interface Failure {
  readonly backend: BackendName;
  readonly index: number;
  readonly problems: readonly string[];
}

/** No interleaving takes longer, on a busy machine neither: a promise that never settles is reported before. */
const LONGEST_MS = 300_000;
const LINES = 10;

/** @returns the exit code */
export async function main(argv: readonly string[], out: Output): Promise<number> {
  try {
    const options = parseOptions(argv);
    if (options === undefined) {
      out.log(USAGE);
      return 0;
    }
    out.log(`Seed ${options.seed}`);
    const failures = await runAll(options, out);
    // What the others have printed since stands between.
    for (const failure of failures) out.log(`Failed: ${again(failure, options)}`);
    return failures.length === 0 ? 0 : 1;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    out.error(`interleavings: ${error.message}`);
    out.error('Try --help.');
    return 2;
  }
}

async function runAll(options: Options, out: Output): Promise<Failure[]> {
  const { backends, seed, only, count } = options;
  if (only !== undefined) {
    const backend = backendOf(only, options);
    const work = { backend, seed, first: only, stride: 1, count: only + 1 };
    const failure = await runChild(work, out);
    if (failure === undefined) out.log(`Interleaving ${only} of ${backend}: all held`);
    if (failure !== undefined) out.log(describe(failure, options));
    return failure === undefined ? [] : [failure];
  }
  const ends = await Promise.all(
    backends.map(async (backend, first) => {
      const failure = await runChild({ backend, seed, first, stride: backends.length, count }, out);
      if (failure !== undefined) out.log(describe(failure, options));
      return failure;
    }),
  );
  return ends.filter((failure) => failure !== undefined);
}

/** Runs the interleavings of one backend. */
function runChild(work: Work, out: Output): Promise<Failure | undefined> {
  const { backend, first, stride, count } = work;
  const child = fork(join(__dirname, 'child.js'), {
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    // They are counted there. Printed, those that are expected would be all that is to be seen.
    execArgv: ['--no-warnings'],
  });
  let index = first;
  let failure: Failure | undefined;
  let hasEnded = false;
  let errors = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-4000);
  });
  const total = Math.ceil((count - first) / stride);
  let tenths = 0;
  const began = () => {
    const done = (index - first) / stride;
    if (Math.floor((done / total) * LINES) <= tenths) return;
    tenths = Math.floor((done / total) * LINES);
    out.log(`${backend}: ${done} of ${total} interleavings held`);
  };
  return new Promise((resolve) => {
    const kill = () => {
      failure = { backend, index, problems: [`it has not ended after ${LONGEST_MS / 1000} s`] };
      child.kill('SIGKILL');
    };
    let watch = setTimeout(kill, LONGEST_MS);
    child.on('message', (message) => {
      const report = message as Report;
      clearTimeout(watch);
      watch = setTimeout(kill, LONGEST_MS);
      if (report.kind === 'begins') {
        ({ index } = report);
        began();
      } else if (report.kind === 'failed') failure = { backend, index: report.index, problems: report.problems };
      else {
        hasEnded = true;
        out.log(`${backend}: ${total} interleavings held; ${summary(report.outcomes)}`);
      }
    });
    child.on('close', (code, signal) => {
      clearTimeout(watch);
      if (failure === undefined && !hasEnded) {
        failure = { backend, index, problems: [`the process ended with ${signal ?? code}`, errors] };
      }
      resolve(failure);
    });
    child.send(work);
  });
}

function summary(outcomes: readonly (readonly [string, number])[]): string {
  const all = outcomes.reduce((sum, [, times]) => sum + times, 0);
  const of = (wanted: RegExp) => outcomes.reduce((sum, [name, times]) => sum + (wanted.test(name) ? times : 0), 0);
  return `${all} calls, ${of(/ resolved$/)} resolved, ${of(/AbortError/)} aborted, ${of(/\(caller\)/)} past their deadline`;
}

function describe({ backend, index, problems }: Failure, options: Options): string {
  const { seed } = options;
  const plan = planOf(seed, index);
  return [
    `Interleaving ${index} of ${backend} failed:`,
    ...problems.map((problem) => `  ${problem}`),
    `nodes: ${JSON.stringify(plan.nodes)}`,
    ...plan.steps.map((step, i) => `  ${i} ${describeStep(step)}`),
    `Again: ${again({ index }, options)}`,
  ].join('\n');
}

/** The command that runs it again. */
function again({ index }: Pick<Failure, 'index'>, { seed, backends }: Options): string {
  const [only, ...more] = backends;
  return `npm run interleavings -- --seed ${seed} --only ${index}${more.length > 0 ? '' : ` --backend ${only}`}`;
}

if (require.main === module) {
  void main(process.argv.slice(2), console).then((code) => {
    process.exitCode = code;
  });
}

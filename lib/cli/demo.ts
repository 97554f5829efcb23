import { types } from 'node:util';
import type { BackendFactory } from '../backend/backend';
import { LLMBackendError, LLMException } from '../exception';
import { LLMRole } from '../role';
import { Cluster } from './demo/cluster';
import { VerificationError } from './demo/contents';
import { runFailures, UnexpectedOutcome } from './demo/failures';
import { runFlow } from './demo/flow';
import { BLOCK_BYTES, BLOCK_TOKENS, FULL_BLOCK_BYTES, HEAD_SIZE, KV_HEADS, LAYERS, TENSORS } from './demo/geometry';
import { parseOptions, USAGE, UsageError } from './demo/options';
import type { DemoOptions } from './demo/options';
import { Pattern } from './demo/pattern';
import { runProcesses } from './demo/processes';
import type { PartyPlans } from './demo/processes';
import { inMiB } from './demo/quantity';
import { Screen } from './demo/screen';
import type { Output } from './demo/screen';
import { printTable } from './demo/table';
import { Tally } from './demo/tally';

/** Where the demo runs. */
export interface DemoEnvironment {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: NodeJS.ProcessEnv;
  /** Takes the place of the backend that the command line names. */
  readonly backend?: BackendFactory;
}

/**
 * `npm run demo`: one prompt and two decoders move the KV cache of a Llama-3-8B-class model.
 *
 * @param argv arguments without the program's name
 * @returns the exit code: 0, 1 when something went otherwise than it should, 2 for a wrong command line
 */
export async function main(argv: readonly string[], environment: DemoEnvironment): Promise<number> {
  const { stdout, stderr, env, backend } = environment;
  try {
    const options = parseOptions(argv);
    if (options === undefined) stdout.write(USAGE);
    else await runDemo(options, new Screen(stdout, env), backend);
    return 0;
  } catch (error) {
    if (error instanceof UsageError) {
      stderr.write(`${error.message}\n\n${USAGE}`);
      return 2;
    }
    const screen = new Screen(stderr, env);
    screen.blank();
    for (const text of reasons(error)) screen.text(text, { style: 'red' });
    return 1;
  }
}

async function runDemo(options: DemoOptions, screen: Screen, factory: BackendFactory | undefined): Promise<void> {
  const { blocks } = options;
  const backend = factory ?? options.backend;
  const start = performance.now();
  const show = { screen, tally: new Tally() };
  const plans = plansOf(options);
  if (options.processes) {
    introduce(screen, PROCESSES, blocks);
    await runProcesses(show, plans, blocks);
    screen.heading('What was transferred');
    printTable(screen, show.tally);
    conclude(screen, PROCESSES, performance.now() - start);
    return;
  }
  const prompt = new Cluster(plans.prompt, backend);
  const decoder1 = new Cluster(plans.decoder1, backend);
  const decoder2 = new Cluster(plans.decoder2, backend);
  introduce(screen, prompt.backendName, blocks);

  const pattern = new Pattern();
  const parties = { prompt, decoder1, decoder2 };
  await stopAfterwards([decoder2, decoder1, prompt], async () => {
    const caches = await runFlow(show, parties, blocks, pattern);
    await runFailures(show, parties, caches, pattern);
  });

  screen.heading('What was transferred');
  printTable(screen, show.tally);
  conclude(screen, prompt.backendName, performance.now() - start);
}

function plansOf({ ip, port, devices }: DemoOptions): PartyPlans {
  const plan = (name: string, role: LLMRole, index: 0 | 1 | 2) => {
    return { name, role, clusterId: BigInt(index + 1), deviceId: devices[index], ip, port: port + index };
  };
  return {
    prompt: plan('prompt', LLMRole.PROMPT, 0),
    decoder1: plan('decoder 1', LLMRole.DECODER, 1),
    decoder2: plan('decoder 2', LLMRole.DECODER, 2),
  };
}

/** Runs `work`, then stops every cluster. A failure of the one does not hide a failure of the other. */
async function stopAfterwards(clusters: readonly Cluster[], work: () => Promise<void>): Promise<void> {
  const errors: unknown[] = [];
  const note = (error: unknown) => {
    errors.push(error);
  };
  await work().catch(note);
  for (const cluster of clusters) await cluster.stop().catch(note);
  if (errors.length > 0) throw new AggregateError(errors);
}

function introduce(screen: Screen, backend: string, blocks: number): void {
  const cache = blocks * FULL_BLOCK_BYTES;
  const facts = [
    ['Backend', [backend, BACKENDS.get(backend) ?? 'one of your own'].join(': ')],
    ['Model', `${LAYERS} layers of K and V, ${KV_HEADS} KV heads x ${HEAD_SIZE}, bf16`],
    ['Cache', `${TENSORS} tensors of shape [${blocks}, ${BLOCK_TOKENS}, ${KV_HEADS}, ${HEAD_SIZE}]`],
    [
      'Block',
      `${BLOCK_TOKENS} tokens: ${BLOCK_BYTES / 1024} KiB of each tensor, ${inMiB(FULL_BLOCK_BYTES)} MiB of all`,
    ],
    [
      'Memory',
      backend === PROCESSES
        ? `3 caches of ${inMiB(cache)} MiB, one in each process`
        : `3 caches of ${inMiB(cache)} MiB, later one of ${inMiB(FULL_BLOCK_BYTES)} MiB: ` +
          `${inMiB(3 * cache + FULL_BLOCK_BYTES)} MiB in all`,
    ],
  ] as const;
  screen.text('LLM-DataDist: one prompt and two decoders share a KV cache', { style: 'bold' });
  screen.blank();
  for (const [name, text] of facts) screen.text(`${name.padEnd(8)} ${text}`, { hang: 9 });
}

/** The mock, where its instances find each other in all processes of the machine. */
const PROCESSES = 'mock over TCP';

const BACKENDS: ReadonlyMap<string, string> = new Map([
  [
    'mock',
    'no NPU is involved. The three clusters are objects of this process, their device memory is host memory of this ' +
      'process, and the GB/s below are those of memcpy on this machine. On an Ascend host, --backend native runs the ' +
      'same on NPUs.',
  ],
  [
    PROCESSES,
    'no NPU is involved. The three clusters are processes of this machine, their device memory is host memory, and the ' +
      'GB/s below are those of TCP on its loopback interface.',
  ],
  ['native', 'the caches are device memory, and the GB/s below are those of the links between the NPUs.'],
]);

function conclude(screen: Screen, backend: string, ms: number): void {
  screen.blank();
  screen.text(`Every transferred byte was verified. Backend ${backend}, ${(ms / 1000).toFixed(1)} s in all.`);
  screen.text("Next: README.md. In your code: new LLMDataDist(role, id, { backend: 'mock' })");
}

/** What to say of an error; its stack only where it is not clear that the message says enough. */
function reasons(error: unknown): string[] {
  if (error instanceof AggregateError) return error.errors.flatMap(reasons);
  if (error instanceof VerificationError) return [`Verification failed: ${error.message}`];
  if (error instanceof UnexpectedOutcome) return [`Unexpected: ${error.message}`];
  if (error instanceof LLMException || error instanceof LLMBackendError) return String(error).split('\n');
  return (types.isNativeError(error) ? (error.stack ?? error.message) : String(error)).split('\n');
}

if (require.main === module) {
  // The reader may go before the end, as head does: nothing is left to do then.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(0);
  });
  void main(process.argv.slice(2), { stdout: process.stdout, stderr: process.stderr, env: process.env }).then(
    (exitCode) => {
      process.exitCode = exitCode;
    },
  );
}

import { planOf } from './generate';
import { run } from './interleaving';
import type { Result } from './interleaving';
import { ProcessState } from './process-state';
import { mockStage } from './stages/mock';
import { nativeStage } from './stages/native';
import type { Stage } from './stages/stage';
import type { Plan } from './steps';
import { tcpStage } from './stages/tcp';
import type { BackendName } from './options';

/** What a child is to run: every interleaving from `first` on, in steps of `stride`, below `count`. */
export interface Work {
  readonly backend: BackendName;
  readonly seed: number;
  readonly first: number;
  readonly stride: number;
  readonly count: number;
}

export type Report =
  | { readonly kind: 'begins'; readonly index: number }
  | { readonly kind: 'failed'; readonly index: number; readonly problems: readonly string[] }
  | { readonly kind: 'ended'; readonly outcomes: readonly (readonly [string, number])[] };

const STAGES: Readonly<Record<BackendName, (plan: Plan, seed: number) => Promise<Stage>>> = {
  mock: mockStage,
  tcp: tcpStage,
  native: nativeStage,
};

/** Runs interleavings in a process of their own, so that one that ends the process is reported too. */
async function work({ backend, seed, first, stride, count }: Work): Promise<void> {
  const state = new ProcessState();
  const outcomes = new Map<string, number>();
  for (let index = first; index < count; index += stride) {
    report({ kind: 'begins', index });
    const plan = planOf(seed, index);
    const result = await run(plan, await STAGES[backend](plan, seed)).catch(brokenBy);
    const problems = [...result.problems, ...(await state.problems(result.hasLost))];
    if (problems.length > 0) {
      report({ kind: 'failed', index, problems });
      return;
    }
    for (const [outcome, times] of result.outcomes) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + times);
  }
  report({ kind: 'ended', outcomes: [...outcomes] });
}

/** An error of the program itself, or of the stage. */
function brokenBy(error: unknown): Result {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { problems: [`the program failed: ${text}`], outcomes: new Map(), hasLost: false };
}

function report(message: Report): void {
  process.send?.(message);
}

// A listener that stays: the handle of the channel would come and go otherwise.
process.on('message', (message) => {
  void work(message as Work).finally(() => {
    process.disconnect();
    // What a failure leaves must not keep the process.
    setImmediate(() => process.exit());
  });
});

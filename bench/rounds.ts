/** Something that is measured: it does so many operations and says how many milliseconds they took. */
export type Contestant = (operations: number) => number | Promise<number>;

export interface RoundOptions {
  /** Measured rounds. */
  readonly rounds: number;
  /** How long one contestant's part of a round should take at least. */
  readonly milliseconds: number;
  /** Called before every part, so that nobody pays for what another one left behind. */
  readonly collectGarbage: () => void;
}

/** Longer parts than this are cut: a contestant whose clock stands still would be asked for ever more. */
const MAX_OPERATIONS = 2 ** 30;
/** Parts of full length that are run before the first measured one. */
const SETTLING_PARTS = 4;

/**
 * Measures contestants in turns: each round runs every one of them once, and starts with another one than the round
 * before, so that drift of the machine and the place in the round hit all of them alike.
 *
 * This stands in for a benchmark library because those measure one task after the other, which compares two moments of
 * a shared machine rather than two pieces of code.
 *
 * @returns milliseconds per operation, by contestant and round
 */
export async function runRounds(contestants: readonly Contestant[], options: RoundOptions): Promise<number[][]> {
  const operations: number[] = [];
  for (const contestant of contestants) operations.push(await warmUp(contestant, options.milliseconds));
  const samples = contestants.map((): number[] => []);
  for (let round = 0; round < options.rounds; round++) {
    for (let i = 0; i < contestants.length; i++) {
      const turn = (round + i) % contestants.length;
      const count = operations[turn] ?? 1;
      options.collectGarbage();
      const elapsed = await contestants[turn]?.(count);
      samples[turn]?.push((elapsed ?? NaN) / count);
    }
  }
  return samples;
}

/** Runs a contestant until its parts take as long as they should, and the compiler has settled. */
async function warmUp(contestant: Contestant, milliseconds: number): Promise<number> {
  let operations = 1;
  let longEnough = 0;
  for (;;) {
    const elapsed = await contestant(operations);
    const wanted = Math.ceil((operations * milliseconds) / elapsed);
    if (elapsed >= milliseconds || operations >= MAX_OPERATIONS) longEnough += 1;
    // Code gets faster while it is new, so what was enough at first may be too little in the end.
    else operations = Math.min(MAX_OPERATIONS, wanted, operations * 8);
    if (longEnough > SETTLING_PARTS) return operations;
  }
}

/** The usual contestant: milliseconds that `work` takes. */
export async function timed(work: () => unknown): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

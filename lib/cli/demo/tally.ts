import { inGBps, inMiB, inMs } from './quantity';

/** What the transfers of one kind, or all of them, came to. */
export interface TallyRow {
  readonly kind: string;
  readonly calls: number;
  readonly bytes: number;
  /** Milliseconds in the calls; what lies between them does not count. */
  readonly ms: number;
}

/** Counts transfers by kind. */
export class Tally {
  readonly #rows = new Map<string, TallyRow>();

  /** Runs one transfer and counts it when it succeeds. */
  async measure(kind: string, bytes: number, transfer: () => Promise<void>): Promise<void> {
    const start = performance.now();
    await transfer();
    const ms = performance.now() - start;
    this.#rows.set(kind, sum(kind, [this.row(kind), { kind, calls: 1, bytes, ms }]));
  }

  row(kind: string): TallyRow {
    return this.#rows.get(kind) ?? { kind, calls: 0, bytes: 0, ms: 0 };
  }

  /** In order of first use. */
  get rows(): readonly TallyRow[] {
    return [...this.#rows.values()];
  }

  get total(): TallyRow {
    return sum('total', this.rows);
  }
}

/** A row in words, such as `pullCache, one row a call: 16 calls, 256 MiB in 82 ms, 3.27 GB/s`. */
export function inWords({ kind, calls, bytes, ms }: TallyRow): string {
  const times = `${calls} ${calls === 1 ? 'call' : 'calls'}`;
  return `${kind}: ${times}, ${inMiB(bytes)} MiB in ${inMs(ms)} ms, ${inGBps(bytes, ms)} GB/s`;
}

function sum(kind: string, rows: readonly TallyRow[]): TallyRow {
  const add = (of: (row: TallyRow) => number) => rows.reduce((total, row) => total + of(row), 0);
  return { kind, calls: add((row) => row.calls), bytes: add((row) => row.bytes), ms: add((row) => row.ms) };
}

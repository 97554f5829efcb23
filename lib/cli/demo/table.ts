import { inGBps, inMiB } from './quantity';
import type { Screen } from './screen';
import type { Tally, TallyRow } from './tally';

const COLUMNS = ['calls', 'MiB', 'ms', 'GB/s'] as const;
const COLUMN_WIDTH = 9;

/** The transfers by kind: how often, how much, how long and how fast. */
export function printTable(screen: Screen, tally: Tally): void {
  const { rows, total } = tally;
  const kindWidth = Math.max(...rows.map(({ kind }) => kind.length), 'transfers'.length);
  const lineOf = (kind: string, values: readonly string[]) =>
    `   ${kind.padEnd(kindWidth)}${values.map((value) => value.padStart(COLUMN_WIDTH)).join('')}`;
  const rule = `   ${'-'.repeat(kindWidth + COLUMNS.length * COLUMN_WIDTH)}`;
  screen.line(screen.styled('dim', lineOf('transfers', COLUMNS)));
  for (const row of rows) screen.line(lineOf(row.kind, valuesOf(row)));
  screen.line(screen.styled('dim', rule));
  screen.line(screen.styled('bold', lineOf(total.kind, valuesOf(total))));
}

function valuesOf({ calls, bytes, ms }: TallyRow): string[] {
  return [String(calls), inMiB(bytes), ms.toFixed(1), inGBps(bytes, ms)];
}

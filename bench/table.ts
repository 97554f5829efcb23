import type { Machine } from './machine';
import { isMeasured } from './result';
import type { Line, Unit } from './result';
import type { Summary } from './summary';

const HEADINGS = ['measurement', 'median', 'quartiles', 'compared with', 'ratio', 'quartiles', 'goal', ''];

export function renderMachine(machine: Machine, rounds: number): string {
  const { cpu, cores, memoryGiB, system, node, v8, load } = machine;
  return [
    `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}`,
    `Node ${node}, V8 ${v8}, load ${load}; medians and quartiles of ${rounds} rounds`,
  ].join('\n');
}

/** The lines of one suite, in aligned columns, and why some of them were not measured. */
export function renderTable(title: string, results: readonly Line[]): string {
  const rows = [HEADINGS, ...results.map(cellsOf)];
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  const reasons = new Set(results.flatMap((line) => (isMeasured(line) ? [] : [`not measured: ${line.reason}`])));
  return [title, '', ...lines, ...reasons].join('\n');
}

function cellsOf(line: Line): string[] {
  if (!isMeasured(line)) return [line.name, ...HEADINGS.slice(2).map(() => ''), line.verdict];
  const { name, unit, value, rival, ratio, goal, verdict } = line;
  return [
    name,
    `${render(value.median, unit)} ${unit}`,
    quartiles(value, unit),
    rival === undefined ? '' : `${rival.name}: ${render(rival.value.median, unit)} ${unit}`,
    ratio === undefined ? '' : ratio.median.toFixed(2),
    ratio === undefined ? '' : quartiles(ratio, undefined),
    goal === undefined
      ? ''
      : `${goal.kind} ${Number(goal.bound.toFixed(2))}${goal.of === 'ratio' ? ' times' : ` ${unit}`}`,
    verdict === 'unclear' ? 'not met, within the noise' : verdict === 'missed' ? 'NOT MET' : (verdict ?? ''),
  ];
}

function quartiles({ low, high, rounds }: Summary, unit: Unit | undefined): string {
  return rounds === 1 ? '' : `${render(low, unit)} to ${render(high, unit)}`;
}

function render(value: number, unit: Unit | undefined): string {
  const digits = unit === 'pulls/s' || unit === 'bytes' ? 0 : 2;
  return value.toFixed(digits).replace(/\B(?=(?:\d{3})+$)/g, digits === 0 ? ',' : '');
}

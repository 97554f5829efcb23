import { inspect } from 'node:util';
import type { InspectOptionsStylized } from 'node:util';

/** How `console.log` shows an object of this package: its name and what distinguishes it, not what it is made of. */
export function inspected(
  name: string,
  fields: Readonly<Record<string, unknown>>,
  depth: number | null,
  options: InspectOptionsStylized,
): string {
  if (depth !== null && depth < 0) return options.stylize(`[${name}]`, 'special');
  return `${name} ${inspect(fields, { ...options, depth })}`;
}

import { readFileSync } from 'node:fs';

const LINE = /^Max open files +(\d+) /m;

let limit: number | undefined;

/** How many files this process may have open; infinite where that cannot be found out. */
export function descriptorLimit(): number {
  limit ??= process.platform === 'linux' ? readLimit('/proc/self/limits') : Infinity;
  return limit;
}

/** @internal */
export function readLimit(path: string): number {
  try {
    const [, soft] = LINE.exec(readFileSync(path, 'latin1')) ?? [];
    return soft === undefined ? Infinity : Number(soft);
  } catch {
    // A process may be kept from its own limits, by a sandbox or by Node's permission model. They hold all the same.
    return Infinity;
  }
}

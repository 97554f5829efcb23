import type { Summary } from './summary';

/** What a measurement is held to. */
export interface Goal {
  readonly kind: 'at least' | 'at most';
  readonly bound: number;
}

/** `unclear`: the median misses the goal, but by no more than the noise. */
export type Verdict = 'met' | 'unclear' | 'missed';

export function judge({ kind, bound }: Goal, { median, low, high }: Summary): Verdict {
  const reaches = (value: number): boolean => (kind === 'at least' ? value >= bound : value <= bound);
  if (reaches(median)) return 'met';
  return reaches(kind === 'at least' ? high : low) ? 'unclear' : 'missed';
}

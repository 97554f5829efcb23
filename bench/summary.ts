/** What repeated rounds of one measurement say. The quartiles are its noise: half of the rounds lie between them. */
export interface Summary {
  readonly median: number;
  /** First quartile. */
  readonly low: number;
  /** Third quartile. */
  readonly high: number;
  readonly rounds: number;
}

/** @throws RangeError without samples, or with one that is no finite number: such a round measured nothing. */
export function summarize(samples: readonly number[]): Summary {
  if (samples.length === 0) throw new RangeError('there is nothing to summarize: no round was run');
  const broken = samples.find((sample) => !Number.isFinite(sample));
  if (broken !== undefined) throw new RangeError(`a round measured ${broken}`);
  return {
    median: quantile(samples, 0.5),
    low: quantile(samples, 0.25),
    high: quantile(samples, 0.75),
    rounds: samples.length,
  };
}

/**
 * `values[i] / rivals[i]`, round by round: what disturbs a round of an interleaved measurement disturbs both sides, so
 * these quotients scatter less than the values.
 */
export function quotients(values: readonly number[], rivals: readonly number[]): number[] {
  if (values.length !== rivals.length) {
    throw new RangeError(`${values.length} rounds cannot be compared with ${rivals.length}`);
  }
  return values.map((value, i) => value / (rivals[i] ?? NaN));
}

/** Between the two samples that are next to it, where it is none of them. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const position = (sorted.length - 1) * share;
  const below = sorted[Math.floor(position)] ?? NaN;
  const above = sorted[Math.ceil(position)] ?? NaN;
  return below + (above - below) * (position - Math.floor(position));
}

import { invalid } from './refusal';

/**
 * Neighbouring pairs whose source and destination both rise by one: one copy. Block numbers are compared with numbers of
 * rows several times, which is slow with bigints; one that does not fit a number is beyond any cache all the same.
 */
export interface BlockRun {
  readonly src: number;
  readonly dst: number;
  length: number;
}

const MAX_INT64 = 0x7fff_ffff_ffff_ffffn;

/** The pairs of two equally long block lists, merged into runs. */
export function blockRuns(srcBlocks: BigUint64Array, dstBlocks: BigUint64Array): BlockRun[] {
  const runs: BlockRun[] = [];
  let run: BlockRun | undefined;
  let previousSrc = 0n;
  let previousDst = 0n;
  for (let i = 0; i < srcBlocks.length; i++) {
    const src = srcBlocks[i] ?? 0n;
    const dst = dstBlocks[i] ?? 0n;
    if (run !== undefined) {
      // The library adds one to int64 values and is compiled to abort on overflow.
      const follows = src === previousSrc + 1n;
      if (previousSrc === MAX_INT64 || (follows && previousDst === MAX_INT64)) {
        throw invalid(`block ${MAX_INT64} is followed by another one: the library would abort`);
      }
      if (follows && dst === previousDst + 1n) run.length += 1;
      else run = undefined;
    }
    if (run === undefined) {
      run = { src: Number(src), dst: Number(dst), length: 1 };
      runs.push(run);
    }
    previousSrc = src;
    previousDst = dst;
  }
  return runs;
}

/** The last block of a run's source or destination. */
export const lastOf = (first: number, run: BlockRun): number => first + run.length - 1;

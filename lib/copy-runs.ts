/** Blocks `src`, `src + 1`, … of one tensor that go to `dst`, `dst + 1`, … of another one, or of the same. */
export interface CopyRun {
  readonly src: number;
  readonly dst: number;
  readonly length: number;
}

export interface BlockPair {
  readonly src: number;
  readonly dst: number;
}

/**
 * Merges copies of neighbours into one each. What is copied is what the pairs, copied one after the other, would copy: where
 * a block is read that an earlier pair has written, the order stays, and so does the cut between the two.
 * @param inOneCache whether source and destination blocks are those of the same memory
 */
export function copyRuns(pairs: readonly BlockPair[], inOneCache: boolean): CopyRun[] {
  const runs: { src: number; dst: number; length: number }[] = [];
  for (const { src, dst } of inOrder(pairs, inOneCache)) {
    const last = runs.at(-1);
    const follows = last !== undefined && src === last.src + last.length && dst === last.dst + last.length;
    // One copy of memory onto a part of itself would not read what it has just written.
    if (follows && !(inOneCache && Math.abs(last.src - last.dst) <= last.length)) {
      last.length += 1;
    } else runs.push({ src, dst, length: 1 });
  }
  return runs;
}

/** Where the order makes no difference, the one in which neighbours follow each other. */
function inOrder(pairs: readonly BlockPair[], inOneCache: boolean): readonly BlockPair[] {
  const written = new Set<number>();
  for (const { dst } of pairs) {
    if (written.has(dst)) return pairs;
    written.add(dst);
  }
  if (inOneCache && pairs.some(({ src }) => written.has(src))) return pairs;
  return [...pairs].sort((a, b) => a.dst - a.src - (b.dst - b.src) || a.src - b.src);
}

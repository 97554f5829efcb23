/**
 * The edits that turn what was typed into a known name. Typed letters count double, so an abbreviation (`rdma_tc`) is
 * nearer to its long form than to some other word of the same length.
 */
export function editDistance(typed: string, known: string): number {
  let previous = Array.from({ length: known.length + 1 }, (_, j) => j);
  for (let i = 1; i <= typed.length; i++) {
    const current = [2 * i];
    for (let j = 1; j <= known.length; j++) {
      const dropped = (previous[j] ?? 0) + 2;
      const added = (current[j - 1] ?? 0) + 1;
      const kept = typed[i - 1] === known[j - 1] ? (previous[j - 1] ?? 0) : Infinity;
      current.push(Math.min(dropped, added, kept));
    }
    previous = current;
  }
  return previous[known.length] ?? 0;
}

/** Letters that are wrong, missing or too many, or two that have changed places: each counts one. */
export function typingErrors(typed: string, known: string): number {
  let [before, previous] = [[] as number[], Array.from({ length: known.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= typed.length; i++) {
    const current = [i];
    for (let j = 1; j <= known.length; j++) {
      const isSame = typed[i - 1] === known[j - 1];
      const replaced = (previous[j - 1] ?? 0) + (isSame ? 0 : 1);
      const isSwapped = i > 1 && j > 1 && typed[i - 1] === known[j - 2] && typed[i - 2] === known[j - 1];
      const swapped = isSwapped ? (before[j - 2] ?? 0) + 1 : Infinity;
      current.push(Math.min(replaced, swapped, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1));
    }
    [before, previous] = [previous, current];
  }
  return previous[known.length] ?? 0;
}

/**
 * The edits that turn what was typed into a known name. Typed letters count double, so an abbreviation (`rdma_tc`) is
 * nearer to its long form than to some other word of its own length.
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

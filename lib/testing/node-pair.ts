/** Two nodes, in whatever order. */
export function pairOf(a: bigint, b: bigint): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}

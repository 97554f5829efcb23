/** The first few of many texts, and how many more there are: all of them would be a wall of text. */
export function shortList(texts: readonly string[], most = 16): string[] {
  const more = texts.length - most;
  return more > 0 ? [...texts.slice(0, most), `and ${more} more`] : [...texts];
}

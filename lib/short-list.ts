/** The first few of many texts, and how many more there are: messages are to be read. */
export function shortList(texts: readonly string[], most: number): string[] {
  const more = texts.length - most;
  return more > 0 ? [...texts.slice(0, most), `and ${more} more`] : [...texts];
}

/**
 * The text in lines of at most `width` characters, broken at spaces. A word that is longer than a line is broken behind
 * its last comma that fits, or where the line ends. The second and later lines are shorter by `hang`.
 */
export function wrap(text: string, width: number, hang = 0): string[] {
  const lines: string[] = [];
  let line = '';
  const room = () => (lines.length === 0 ? width : width - hang);
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > room()) {
      lines.push(line);
      line = '';
    }
    line = line === '' ? word : `${line} ${word}`;
    while (line.length > room()) {
      const end = line.lastIndexOf(',', room() - 1) + 1 || room();
      lines.push(line.slice(0, end));
      line = line.slice(end);
    }
  }
  lines.push(line);
  return lines;
}

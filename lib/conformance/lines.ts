/** Lines of a text that comes in pieces. */
export class Lines {
  #rest = '';

  constructor(private readonly onLine: (line: string) => void) {}

  add(piece: string): void {
    const lines = (this.#rest + piece).split(/\r?\n/);
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.onLine(line);
  }

  /** The last line may lack its end. */
  end(): void {
    if (this.#rest !== '') this.onLine(this.#rest);
    this.#rest = '';
  }
}

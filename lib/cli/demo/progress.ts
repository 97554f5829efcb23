import type { Screen } from './screen';
import { inMiB } from './quantity';

/** A bar that grows with the bytes; where the line cannot be drawn over there is none, and only the result is told. */
export class Progress {
  readonly #screen: Screen;
  readonly #what: string;
  readonly #total: number;
  #done = 0;
  #percent = -1;

  /** @param total bytes */
  constructor(screen: Screen, what: string, total: number) {
    this.#screen = screen;
    this.#what = what;
    this.#total = total;
  }

  advance(bytes: number): void {
    this.#done += bytes;
    const percent = Math.floor((100 * this.#done) / this.#total);
    // A terminal is slower than memory: no more than a hundred drawings.
    if (!this.#screen.animated || percent === this.#percent) return;
    this.#percent = percent;
    this.#screen.redraw(this.#draw(percent));
  }

  /** Takes the bar away, for the lines that follow. */
  end(): void {
    if (this.#percent >= 0) this.#screen.redraw('');
  }

  #draw(percent: number): string {
    const numbers = ` ${String(percent).padStart(3)} %  ${inMiB(this.#done)} of ${inMiB(this.#total)} MiB`;
    const label = `   ${this.#what} `;
    const room = this.#screen.width - label.length - numbers.length - '[]'.length;
    if (room < 4) return `${label}${numbers}`.slice(0, this.#screen.width);
    const filled = Math.floor((room * percent) / 100);
    const bar = '='.repeat(filled) + (filled < room ? '>' : '');
    return `${label}[${this.#screen.styled('green', bar.padEnd(room))}]${numbers}`;
  }
}

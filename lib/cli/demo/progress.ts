import { inMiB } from './quantity';
import type { Screen } from './screen';

/** A shorter bar shows nothing that the percentage does not. */
const MIN_BAR = 4;

/** A bar that grows with the bytes; where the line cannot be drawn over there is none, and only the result is shown. */
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
    // As wide as at the end, so that the bar stands still.
    const total = inMiB(this.#total);
    const numbers = ` ${String(percent).padStart(3)} %  ${inMiB(this.#done).padStart(total.length)} of ${total} MiB`;
    const label = `   ${this.#what} `;
    const { columns } = this.#screen;
    const room = columns - label.length - numbers.length - '[]'.length;
    if (room < MIN_BAR) return `${label}${numbers}`.slice(0, columns);
    const filled = Math.floor((room * percent) / 100);
    const bar = '='.repeat(filled) + (filled < room ? '>' : '');
    return `${label}[${this.#screen.styled('green', bar.padEnd(room))}]${numbers}`;
  }
}

/** Runs `work` under a bar that is gone afterwards, whatever comes of it. */
export async function withProgress(
  screen: Screen,
  what: string,
  total: number,
  work: (progress: Progress) => Promise<void>,
): Promise<void> {
  const progress = new Progress(screen, what, total);
  try {
    await work(progress);
  } finally {
    progress.end();
  }
}

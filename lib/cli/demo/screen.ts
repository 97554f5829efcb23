import { wrap } from './wrap';

/** What the demo writes to: `process.stdout`, or whatever stands in for it. */
export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** Lines that are longer are hard to read, however wide the terminal is. */
const MAX_WIDTH = 100;
/** Text that is narrower is no text any more. */
const MIN_WIDTH = 40;
const DEFAULT_COLUMNS = 80;

const STYLES = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39] } as const;
export type Style = keyof typeof STYLES;

/** Puts lines on a terminal, or in a file: wrapped, and with colours and moving bars only where they are welcome. */
export class Screen {
  readonly #output: Output;
  readonly #colours: boolean;
  /** Whether a line can be drawn over. */
  readonly animated: boolean;

  constructor(output: Output, env: NodeJS.ProcessEnv) {
    this.#output = output;
    const terminal = output.isTTY === true && env.TERM !== 'dumb';
    this.#colours = terminal && !isSet(env.NO_COLOR);
    this.animated = terminal && !isSet(env.CI);
  }

  /** Characters that a line can have. The last column stays free: some terminals wrap when it is written. */
  get columns(): number {
    // A terminal without a size says 0.
    const { columns = 0 } = this.#output;
    return Math.min((columns > 0 ? columns : DEFAULT_COLUMNS) - 1, MAX_WIDTH);
  }

  /** A text in a style that ends with it. */
  styled(style: Style, text: string): string {
    const [on, off] = STYLES[style];
    return this.#colours ? `\x1b[${on}m${text}\x1b[${off}m` : text;
  }

  blank(): void {
    this.#output.write('\n');
  }

  heading(text: string): void {
    this.blank();
    this.text(text, { hang: 3, style: 'bold' });
  }

  /** A paragraph: wrapped at spaces, all its lines indented, the second and later ones by `hang` more. */
  text(text: string, options: { readonly indent?: number; readonly hang?: number; readonly style?: Style } = {}): void {
    const { indent = 0, hang = 0, style } = options;
    const width = Math.max(this.columns, MIN_WIDTH);
    wrap(text, width - indent, hang).forEach((line, i) => {
      const shown = style === undefined ? line : this.styled(style, line);
      this.#output.write(`${' '.repeat(i === 0 ? indent : indent + hang)}${shown}\n`);
    });
  }

  /** A line as it is, which the caller has made fit. */
  line(text: string): void {
    this.#output.write(`${text}\n`);
  }

  /** Draws over the line that the cursor is in; '' clears it. */
  redraw(text: string): void {
    this.#output.write(`\r\x1b[K${text}`);
  }
}

/** NO_COLOR and CI count when they are there and not empty. */
function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== '';
}

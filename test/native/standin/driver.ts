import { spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { StandInBuild } from './build';

/** What became of a call in the driver. Where the process ended before it answered there is neither of the first two. */
export interface Answer {
  /** `undefined` where the call threw. */
  readonly status: number | undefined;
  /** What was thrown, in words. */
  readonly threw: string | undefined;
  /** What it gave back besides. */
  readonly words: readonly string[];
}

const UNANSWERED: Answer = { status: undefined, threw: undefined, words: [] };

/** How the driver ended. */
export interface DriverEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

/** A process that makes the calls of the vendor's class: one that may end, without this one. */
export class Driver {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #waiting = new Map<string, ((answer: Answer) => void)[]>();
  /** Settles when the process has ended, and all calls with it. */
  readonly ended: Promise<DriverEnd>;

  constructor(build: StandInBuild, env: NodeJS.ProcessEnv = {}) {
    this.#process = spawn(build.driver, { env: { ...process.env, ...env } });
    createInterface(this.#process.stdout).on('line', (line) => {
      this.#settle(line);
    });
    let stderr = '';
    this.#process.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    // Writing to a process that has ended is what some tests do.
    this.#process.stdin.on('error', () => undefined);
    this.ended = once(this.#process, 'close').then(([code, signal]: unknown[]) => {
      for (const resolve of [...this.#waiting.values()].flat()) resolve(UNANSWERED);
      return { code: code as DriverEnd['code'], signal: signal as DriverEnd['signal'], stderr };
    });
  }

  /** Makes a call on a thread of its own name, after those that were asked of this thread before. */
  call(thread: string, ...words: readonly (string | number | bigint)[]): Promise<Answer> {
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(thread) ?? [];
      this.#waiting.set(thread, [...waiting, resolve]);
      this.#process.stdin.write(`${[thread, ...words].join(' ')}\n`);
    });
  }

  /** Closes its input; it exits without waiting for calls that are still inside. */
  end(): Promise<DriverEnd> {
    this.#process.stdin.end();
    return this.ended;
  }

  #settle(line: string): void {
    const [thread = '', result = '', ...words] = line.split(' ');
    const [resolve, ...others] = this.#waiting.get(thread) ?? [];
    this.#waiting.set(thread, others);
    const threw = result === 'threw' ? decode(words[0] ?? '') : undefined;
    resolve?.({ status: threw === undefined ? Number(result) : undefined, threw, words });
  }
}

/** A text as one word of the driver's input. */
export function encode(text: string): string {
  return text === '' ? '-' : encodeURIComponent(text).replace(/[!'()*~=]/g, percent);
}

export function decode(word: string): string {
  return word === '-' ? '' : decodeURIComponent(word);
}

function percent(character: string): string {
  return `%${character.charCodeAt(0).toString(16)}`;
}

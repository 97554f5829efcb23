import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { nodeTimers } from '../node-timers';
import { endWithThisProcess } from './dependent-children';
import type { HostProcess } from './host';
import { HostLostError } from './host';
import type { HostAnswer, HostRequest } from './host-message';
import { END } from './host-message';
import { Lines } from './lines';

/** The number of its last lines that go with the news of a lost process. */
const LAST_LINES = 10;

export interface ForkedProcessOptions {
  /** What errors call it. */
  readonly title: string;
  /** `host-program`, compiled. */
  readonly program: string;
  /** How long it may exist, in milliseconds. */
  readonly limitMs: number;
  /** Takes each line that it prints, to standard output or standard error. */
  readonly onLine: (line: string) => void;
}

/** A child process that runs `host-program`. */
export class ForkedProcess implements HostProcess {
  readonly lost: Promise<HostLostError>;
  readonly #title: string;
  readonly #limitMs: number;
  readonly #child: ChildProcess;
  readonly #timer: NodeJS.Timeout;
  readonly #stderr: string[] = [];
  #tellLoss: ((loss: HostLostError) => void) | undefined;
  #takeAnswer: ((answer: HostAnswer) => void) | undefined;
  #takeEnd: (() => void) | undefined;
  #late = false;

  constructor({ title, program, limitMs, onLine }: ForkedProcessOptions) {
    this.#title = title;
    this.#limitMs = limitMs;
    this.lost = new Promise((resolve) => {
      this.#tellLoss = resolve;
    });
    const child = fork(program, [], { serialization: 'advanced', stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    this.#child = child;
    endWithThisProcess(child);
    const stdout = new Lines(onLine);
    const stderr = new Lines((line) => {
      this.#stderr.push(line);
      if (this.#stderr.length > LAST_LINES) this.#stderr.shift();
      onLine(line);
    });
    child.stdout?.setEncoding('utf8').on('data', (piece: string) => {
      stdout.add(piece);
    });
    child.stderr?.setEncoding('utf8').on('data', (piece: string) => {
      stderr.add(piece);
    });
    child.on('message', (answer: HostAnswer) => {
      this.#takeAnswer?.(answer);
    });
    child.on('error', (error) => {
      this.#lose(`could not be started: ${error.message}`);
    });
    child.once('close', (code, signal) => {
      stdout.end();
      stderr.end();
      this.#closed(code, signal);
    });
    this.#timer = nodeTimers.setTimeout(() => {
      // A process that nobody waits for is not to blame for the time that others took.
      if (this.#takeAnswer === undefined && this.#takeEnd === undefined) this.#late = true;
      else this.#overdue();
    }, limitMs);
  }

  /** Sends a request, of which there is one at a time. The answer never comes when the process is lost. */
  ask(request: HostRequest): Promise<HostAnswer> {
    return new Promise((resolve) => {
      this.#takeAnswer = (answer) => {
        this.#takeAnswer = undefined;
        resolve(answer);
      };
      this.#send(request);
    });
  }

  end(): Promise<void> {
    return new Promise((resolve) => {
      this.#takeEnd = resolve;
      this.#send(END);
    });
  }

  kill(): void {
    nodeTimers.clearTimeout(this.#timer);
    this.#child.kill('SIGKILL');
    // Neither a process that not even SIGKILL ends nor a child process that holds its output may hold this one.
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
    if (this.#child.connected) this.#child.disconnect();
    this.#child.unref();
  }

  #send(message: HostRequest | typeof END): void {
    if (this.#late) this.#overdue();
    // A process that cannot be reached has ended, and 'close' says how.
    this.#child.send(message, () => undefined);
  }

  #closed(code: number | null, signal: NodeJS.Signals | null): void {
    nodeTimers.clearTimeout(this.#timer);
    if (signal !== null) this.#lose(`was ended by ${signal}`);
    else if (code !== 0) this.#lose(`ended with exit code ${code}`);
    else if (this.#takeEnd === undefined) this.#lose('ended too early, with exit code 0');
    else this.#takeEnd();
  }

  #overdue(): void {
    const { exitCode, signalCode } = this.#child;
    if (exitCode !== null || signalCode !== null) {
      // It has ended, and only its output is still held open, by something that it has started.
      this.#closed(exitCode, signalCode);
      return;
    }
    const missing = this.#takeEnd === undefined ? 'gave no answer' : 'did not end after finalize()';
    this.#lose(`${missing} within ${this.#limitMs / 1000} s`);
  }

  #lose(reason: string): void {
    this.#tellLoss?.(new HostLostError(`the process of ${this.#title} ${reason}`, [...this.#stderr]));
    this.kill();
  }
}

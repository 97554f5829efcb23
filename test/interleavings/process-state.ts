import { readdirSync } from 'node:fs';

/** Longer than any thread or socket takes to end. */
const LIMIT_MS = 30_000;
const EXPECTED_WARNINGS = /^LLMDataDist(Memory|Cache|Listen)Warning$/;

/** What the process reports that no call does: rejections that nothing handles, warnings, threads and handles that stay. */
export class ProcessState {
  readonly #base: { readonly threads: number; readonly handles: readonly string[] };
  #problems: string[] = [];

  constructor() {
    // Node makes these when they are looked at first, and handles of them.
    for (const { fd } of [process.stdout, process.stderr]) if (fd < 0) throw new Error('there is no place to print');
    this.#base = { threads: threads(), handles: handles() };
    process.on('unhandledRejection', (reason) => {
      this.#problems.push(`a rejection that nothing handles: ${String(reason)}`);
    });
    process.on('warning', ({ name, message }) => {
      if (!EXPECTED_WARNINGS.test(name)) this.#problems.push(`${name}: ${message}`);
    });
  }

  /**
   * Since the last look.
   * @param keeps whether an instance was lost, whose threads and handles stay
   */
  async problems(keeps: boolean): Promise<string[]> {
    const ends = keeps || (await this.#isBack());
    const found = this.#problems;
    this.#problems = [];
    if (ends) return found;
    const now = `${threads()} threads and the handles [${handles().join()}]`;
    return [...found, `there are ${now} left, ${this.#base.threads} and [${this.#base.handles.join()}] before`];
  }

  async #isBack(): Promise<boolean> {
    for (const start = Date.now(); Date.now() - start < LIMIT_MS;) {
      if (threads() <= this.#base.threads && handles().length <= this.#base.handles.length) return true;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return false;
  }
}

/** Of Linux; elsewhere they are not counted. */
function threads(): number {
  return process.platform === 'linux' ? readdirSync('/proc/self/task').length : 0;
}

/** Timers aside: those of this program come and go. */
function handles(): string[] {
  return process.getActiveResourcesInfo().filter((name) => name !== 'Timeout' && name !== 'Immediate');
}

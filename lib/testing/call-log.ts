import { checkInteger } from '../check';
import { CallPage, PAGE, recordInFlight } from './call-page';
import type { LoggedCall } from './call-page';
import type { CallRecord } from './call-record';

/** Block numbers that are kept at most, 32 MiB of them: 100,000 calls of 100,000 blocks each would be 160 GB. */
const MAX_BLOCKS = 2 ** 22;

const DEFAULT_CALLS = 100_000;
const MAX_CALLS = 10_000_000;

/** How many calls a fabric is to keep. @throws TypeError, RangeError */
export function checkHistory(value: unknown): number {
  return value === undefined ? DEFAULT_CALLS : checkInteger(value, 'options.history', 0, MAX_CALLS);
}

/**
 * The calls of a fabric. They are kept in columns and become records when somebody asks: an object per call, with copies
 * of its lists, would cost as much as a small transfer, and again when it gets old.
 */
export class CallLog {
  readonly #limit: number;
  readonly #maxPages: number;
  readonly #pages: CallPage[] = [new CallPage()];
  /** Place of the first call of the first page, and of the last one. */
  #start = 0;
  #lastStart = 0;
  #next = 0;
  #blocks = 0;

  /** @param limit calls that are kept; the oldest go first */
  constructor(limit: number) {
    this.#limit = limit;
    this.#maxPages = Math.ceil(limit / PAGE) + 1;
  }

  /** The place of a call that begins. */
  take(): number {
    return this.#next++;
  }

  /** A call has ended. */
  add(call: LoggedCall, endMs: number, error: unknown): void {
    const { index } = call;
    while (index >= this.#lastStart + PAGE) this.#turnPage();
    const page =
      this.#pages[index < this.#lastStart ? Math.floor((index - this.#start) / PAGE) : this.#pages.length - 1];
    // Of a call that took that long the page may be gone.
    if (page === undefined) return;
    this.#blocks += page.put(index % PAGE, call, endMs, error);
    if (this.#blocks > MAX_BLOCKS && this.#pages.length > 1) this.#dropPage();
  }

  /** The last calls, in the order in which they began. */
  records(inFlight: readonly LoggedCall[]): CallRecord[] {
    const unfinished = new Map(inFlight.map((call) => [call.index, call]));
    const records: CallRecord[] = [];
    for (let index = Math.max(this.#start, this.#next - this.#limit); index < this.#next; index++) {
      const call = unfinished.get(index);
      const page = this.#pages[Math.floor((index - this.#start) / PAGE)];
      const record = call === undefined ? page?.record(index) : recordInFlight(call);
      if (record !== undefined) records.push(record);
    }
    return records;
  }

  #turnPage(): void {
    // Memory that is there already costs less than new one.
    const old = this.#pages.length < this.#maxPages ? undefined : this.#dropPage();
    old?.clear();
    this.#pages.push(old ?? new CallPage());
    this.#lastStart += PAGE;
  }

  #dropPage(): CallPage | undefined {
    const page = this.#pages.shift();
    this.#blocks -= page?.blocks ?? 0;
    this.#start += PAGE;
    return page;
  }
}

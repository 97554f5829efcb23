import { CallPage, PAGE, recordInFlight } from './call-page';
import type { LoggedCall } from './call-page';
import type { CallRecord } from './call-record';

/** Block numbers that are kept at most, 32 MiB of them: 100,000 calls of 100,000 blocks each would be 160 GB. */
const MAX_BLOCKS = 2 ** 22;

/**
 * The calls of a fabric. They are kept in columns and become records when somebody asks: an object per call, with copies
 * of its lists, would cost as much as a small transfer, and again when it gets old.
 */
export class CallLog {
  readonly #limit: number;
  #pages: CallPage[] = [];
  /** Number of the first page that is left. */
  #firstPage = 0;
  #next = 0;
  #blocks = 0;

  /** @param limit calls that are kept at least; the oldest go first */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The place of a call that begins. */
  take(): number {
    return this.#next++;
  }

  /** A call has ended. */
  add(call: LoggedCall, endMs: number, error: unknown): void {
    const page = this.#pageOf(call.index);
    if (page === undefined) return;
    const before = page.blocks;
    page.put(call.index % PAGE, call, endMs, error);
    this.#blocks += page.blocks - before;
    if (this.#blocks > MAX_BLOCKS) this.#drop();
  }

  /** The last calls, in the order in which they began. */
  records(inFlight: readonly LoggedCall[]): CallRecord[] {
    const unfinished = new Map(inFlight.map((call) => [call.index, call]));
    const records: CallRecord[] = [];
    for (let index = Math.max(this.#firstPage * PAGE, this.#next - this.#limit); index < this.#next; index++) {
      const call = unfinished.get(index);
      const page = this.#pages[Math.floor(index / PAGE) - this.#firstPage];
      const record = call === undefined ? page?.record(index) : recordInFlight(call);
      if (record !== undefined) records.push(record);
    }
    return records;
  }

  #pageOf(index: number): CallPage | undefined {
    const number = Math.floor(index / PAGE) - this.#firstPage;
    if (number < this.#pages.length) return this.#pages[number];
    while (this.#pages.length <= number) this.#pages.push(new CallPage());
    while ((this.#pages.length - 1) * PAGE > this.#limit) this.#drop();
    return this.#pages.at(-1);
  }

  #drop(): void {
    // What is written to next must stay.
    if (this.#pages.length < 2) return;
    this.#blocks -= this.#pages.shift()?.blocks ?? 0;
    this.#firstPage += 1;
  }
}

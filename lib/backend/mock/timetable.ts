import { lowerBound } from '../../lower-bound';

interface Entry {
  readonly due: number;
  /** What is to happen, before what is not to last any longer than that. */
  readonly isLimit: boolean;
  readonly wake: () => void;
}

/** What is due when: in order of time, and of arrival where that is the same. */
export class Timetable {
  readonly #entries: Entry[] = [];
  #limits = 0;
  #changes = 0;

  /** Entries that are no limits. */
  get waiting(): number {
    return this.#entries.length - this.#limits;
  }

  /** Rises with every entry that comes or goes. */
  get changes(): number {
    return this.#changes;
  }

  /** When the first entry is due that is no limit. */
  get nextWaiting(): number | undefined {
    return this.#entries.find((entry) => !entry.isLimit)?.due;
  }

  /** The first entry: when it is due, and whether it is a limit. */
  get first(): Pick<Entry, 'due' | 'isLimit'> | undefined {
    return this.#entries[0];
  }

  /** When the first entry is due. */
  get next(): number | undefined {
    return this.#entries[0]?.due;
  }

  /** @returns what strikes the entry off; nothing when it was woken before */
  add(due: number, wake: () => void, isLimit = false): () => void {
    const entry: Entry = { due, isLimit, wake };
    const comesFirst = (other: Entry) => other.due < due || (other.due === due && (isLimit || !other.isLimit));
    this.#entries.splice(lowerBound(this.#entries, comesFirst), 0, entry);
    this.#count(isLimit, 1);
    return () => {
      const index = this.#entries.indexOf(entry);
      if (index >= 0) this.#remove(index);
    };
  }

  /** Takes the first entry off and wakes it. */
  wakeNext(): void {
    this.#remove(0)?.wake();
  }

  #remove(index: number): Entry | undefined {
    const [entry] = this.#entries.splice(index, 1);
    if (entry !== undefined) this.#count(entry.isLimit, -1);
    return entry;
  }

  #count(isLimit: boolean, difference: number): void {
    if (isLimit) this.#limits += difference;
    this.#changes += 1;
  }
}

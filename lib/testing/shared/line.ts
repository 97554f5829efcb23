/** Carries texts between two processes, in order. One of them in one process does so too. */
export interface Line {
  /** Where what arrives is taken; set once, before anything can arrive. */
  events: LineEvents | undefined;
  send(text: string): void;
  /** One more waits for something, or one less: as long as there are any the process stays alive. */
  keepAlive(difference: 1 | -1): void;
  close(): void;
}

export interface LineEvents {
  arrived(text: string): void;
  /** Called once. */
  closed(): void;
}

/** Both ends of a line within one process. */
export function linePair(): [Line, Line] {
  const one = new LocalLine();
  const other = new LocalLine();
  one.other = other;
  other.other = one;
  return [one, other];
}

class LocalLine implements Line {
  events: LineEvents | undefined;
  other: LocalLine | undefined;
  #isOpen = true;

  send(text: string): void {
    const { other } = this;
    if (!this.#isOpen) return;
    // Not at once, as over a socket; and by what nothing replaces, unlike queueMicrotask.
    void Promise.resolve().then(() => {
      other?.events?.arrived(text);
    });
  }

  keepAlive(): void {
    // There is nothing that could.
  }

  close(): void {
    this.end();
    this.other?.end();
  }

  end(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.events?.closed();
  }
}

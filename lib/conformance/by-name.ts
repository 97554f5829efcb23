/** What a scenario calls by name. */
export class ByName<V> {
  readonly #values = new Map<string, V>();

  /**
   * @param scenario its name
   * @param kind what the names stand for
   */
  constructor(
    private readonly scenario: string,
    private readonly kind: 'node' | 'cache',
  ) {}

  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** @throws RangeError for a name that stands for nothing */
  get(name: string): V {
    const value = this.#values.get(name);
    if (value === undefined) throw this.unknown(name);
    return value;
  }

  unknown(name: string): RangeError {
    return new RangeError(`the scenario ${this.scenario} has no ${this.kind} ${name}`);
  }

  set(name: string, value: V): void {
    this.#values.set(name, value);
  }

  delete(name: string): void {
    this.#values.delete(name);
  }
}

/** What a test runner must be able to do for {@link describeBackend}: jest's and vitest's globals and node:test can. */
export interface TestKit {
  /**
   * Registers a test. It fails when `run` rejects. The runner sees to time limits: on a backend that really waits, a
   * scenario may take seconds.
   */
  readonly test: (name: string, run: () => Promise<void>) => unknown;
  /**
   * Jest's `expect`, or anything with its `toEqual`. All values are plain: texts, numbers, booleans, and arrays and object
   * literals of them, so `(actual) => ({ toEqual: (expected) => assert.deepStrictEqual(actual, expected) })` will do.
   */
  readonly expect: Expect;
  /** Registers a group of tests, and runs `body` before it returns. Without it the names of groups are part of test names. */
  readonly describe?: ((name: string, body: () => void) => unknown) | undefined;
}

/** Throws when the two values are not deeply equal. */
export type Expect = (actual: unknown) => { toEqual(expected: unknown): unknown };

const SEPARATOR = ' › ';

/** Registers tests in nested groups, whether or not the runner has groups. */
export class TestGroup {
  readonly #kit: TestKit;
  readonly #prefix: string;

  constructor(kit: TestKit, prefix = '') {
    this.#kit = kit;
    this.#prefix = prefix;
  }

  get expect(): Expect {
    return this.#kit.expect;
  }

  group(name: string, body: (group: TestGroup) => void): void {
    const { describe } = this.#kit;
    if (describe === undefined) {
      body(new TestGroup(this.#kit, this.#prefix + name + SEPARATOR));
    } else {
      describe(name, () => {
        body(this);
      });
    }
  }

  test(name: string, run: () => Promise<void>): void {
    this.#kit.test(this.#prefix + name, run);
  }
}

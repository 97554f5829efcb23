import { inspect } from 'node:util';

/** A scenario that is not what its format demands. The message names file, scenario and step. */
export class ScenarioError extends Error {
  override readonly name = 'ScenarioError';

  /** @param place where the fault is, from the file inwards, such as `pull.json: step 3 (pullCache): crc` */
  constructor(
    readonly place: string,
    problem: string,
    options?: { readonly cause?: unknown },
  ) {
    super(`${place}: ${problem}`, options);
  }
}

/** Reads one value, or throws a {@link ScenarioError} that names `place`. */
export type Reader<T> = (value: unknown, place: string) => T;

/**
 * The fields of one JSON object. What is read is remembered, because a field that nobody reads would make the scenario
 * say something that is not tested.
 */
export class Fields {
  readonly #object: Readonly<Record<string, unknown>>;
  readonly #read = new Set<string>();

  constructor(
    value: unknown,
    readonly place: string,
  ) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new ScenarioError(place, `expected an object, found ${shown(value)}`);
    }
    this.#object = value as Record<string, unknown>;
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#object, key);
  }

  /** A field that has to be there. */
  get<T>(key: string, read: Reader<T>): T {
    this.#read.add(key);
    if (!this.has(key)) throw new ScenarioError(this.place, `the field "${key}" is missing`);
    return read(this.#object[key], this.#placeOf(key));
  }

  /** A field that may be left out; it has the value `preset` then. */
  optional<T, U>(key: string, read: Reader<T>, preset: U): T | U {
    this.#read.add(key);
    return this.has(key) ? read(this.#object[key], this.#placeOf(key)) : preset;
  }

  /** For objects that may hold anything more. */
  ignoreRest(): void {
    for (const key of Object.keys(this.#object)) this.#read.add(key);
  }

  /** Refuses what has not been read. */
  end(): void {
    const unknown = Object.keys(this.#object).filter((key) => !this.#read.has(key));
    if (unknown.length === 0) return;
    throw new ScenarioError(this.place, `unknown field "${unknown.join('", "')}"`);
  }

  #placeOf(key: string): string {
    return `${this.place}: ${key}`;
  }
}

/** An object, all of whose fields `read` reads. */
export function object<T>(read: (fields: Fields) => T): Reader<T> {
  return (value, place) => {
    const fields = new Fields(value, place);
    const result = read(fields);
    fields.end();
    return result;
  };
}

export function list<T>(read: Reader<T>): Reader<readonly T[]> {
  return (value, place) => {
    if (!Array.isArray(value)) throw new ScenarioError(place, `expected a list, found ${shown(value)}`);
    return value.map((element: unknown, i) => read(element, `${place}[${i}]`));
  };
}

/** An object whose keys are names of the scenario's own. */
export function record<T>(read: Reader<T>): Reader<ReadonlyMap<string, T>> {
  return (value, place) => {
    const fields = new Fields(value, place);
    return new Map(Object.keys(value as object).map((key) => [key, fields.get(key, read)]));
  };
}

export function pair<T>(read: Reader<T>): Reader<readonly [first: T, last: T]> {
  return (value, place) => {
    const [first, last, ...more] = list(read)(value, place);
    if (first === undefined || last === undefined || more.length > 0) {
      throw new ScenarioError(place, 'expected a list of two');
    }
    return [first, last];
  };
}

export const text: Reader<string> = (value, place) => {
  if (typeof value === 'string') return value;
  throw new ScenarioError(place, `expected a text, found ${shown(value)}`);
};

export const flag: Reader<boolean> = (value, place) => {
  if (typeof value === 'boolean') return value;
  throw new ScenarioError(place, `expected true or false, found ${shown(value)}`);
};

/** An integer from `min` to `max`. */
export function integer(min: number, max: number): Reader<number> {
  return (value, place) => {
    if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max) return value as number;
    throw new ScenarioError(place, `expected an integer from ${min} to ${max}, found ${shown(value)}`);
  };
}

/** An integer as a decimal string, or as a number where that is exact. */
export function wide(min: bigint, max: bigint): Reader<bigint> {
  return (value, place) => {
    const number =
      typeof value === 'string' && /^-?\d{1,20}$/.test(value)
        ? BigInt(value)
        : Number.isSafeInteger(value)
          ? BigInt(value as number)
          : undefined;
    if (number !== undefined && number >= min && number <= max) return number;
    throw new ScenarioError(
      place,
      `expected an integer from ${min} to ${max} or its decimal text, found ${shown(value)}`,
    );
  };
}

export const uint8 = integer(0, 0xff);
export const uint32 = integer(0, 0xffff_ffff);
export const int32 = integer(-0x8000_0000, 0x7fff_ffff);
export const uint64 = wide(0n, 0xffff_ffff_ffff_ffffn);
export const int64 = wide(-0x8000_0000_0000_0000n, 0x7fff_ffff_ffff_ffffn);

/** A name of `values`, or the number itself where that has none. */
export function named(values: Readonly<Record<string, unknown>>, number: Reader<number>): Reader<number> {
  return (value, place) => {
    if (typeof value !== 'string') return number(value, place);
    const known = Object.hasOwn(values, value) ? values[value] : undefined;
    // A numeric enum maps its numbers to names as well.
    if (typeof known === 'number') return known;
    const names = Object.keys(values).filter((key) => typeof values[key] === 'number');
    throw new ScenarioError(place, `expected a number or one of ${names.join(', ')}, found ${shown(value)}`);
  };
}

/** A value as it stands in the file, cut where it is long. */
export function shown(value: unknown): string {
  const source = inspect(value, { depth: 2, breakLength: Infinity });
  return source.length > 80 ? `${source.slice(0, 77)}...` : source;
}

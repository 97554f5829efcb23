const PROPERTY = { value: toJSON, enumerable: false, configurable: true, writable: true };

/**
 * Gives a plain object that is returned a `toJSON` with which `JSON.stringify` writes its bigints, however deep, as decimal
 * digits. It is not enumerable: comparisons, copies and structured clones do not see it.
 */
export function withDecimalJSON<T extends object>(object: T): T {
  return Object.defineProperty(object, 'toJSON', PROPERTY);
}

/** Whether an object has its `toJSON` from {@link withDecimalJSON}. */
export function hasDecimalJSON(value: unknown): value is object {
  return (
    typeof value === 'object' && value !== null && Object.getOwnPropertyDescriptor(value, 'toJSON')?.value === toJSON
  );
}

/**
 * `JSON.stringify` gives the key under which it found the object. The printers of jest and vitest call this without one: a
 * difference would not show bigints as bigints if they were given texts.
 */
function toJSON(this: object, ...[key]: [key?: string]): unknown {
  return key === undefined ? { ...this } : decimals({ ...this });
}

/** A value with texts in place of bigints, in arrays and plain objects. All else has a say in its JSON itself. */
function decimals(value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  if (Array.isArray(value)) return value.map(decimals);
  if (!isPlain(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, decimals(inner)]));
}

function isPlain(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

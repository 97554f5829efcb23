import { deserialize, serialize } from 'node:v8';

/**
 * Makes `JSON.stringify` write a bigint as its decimal digits, where it would throw.
 *
 * What this package returns has its own `toJSON` where it can have one. Copies of it cannot: `{ ...key }` and a structured
 * clone have enumerable properties only, and a function among those could not be cloned. A bare `clusterId` in a log cannot
 * either, nor what jest 29 sends to its parent process. The prototype of the bigints reaches all of these.
 *
 * An application that has given bigints a `toJSON` before keeps it, and it can replace or delete this one later. Where the
 * intrinsics are frozen they stay as they are.
 */
export function writeBigintsInJSON(): void {
  for (const prototype of bigintPrototypes()) {
    if ('toJSON' in prototype) continue;
    // Reflect, because that reports a frozen prototype, and throws nothing.
    Reflect.defineProperty(prototype, 'toJSON', {
      value: toDecimal,
      enumerable: false,
      configurable: true,
      writable: true,
    });
  }
}

/**
 * That of this realm, and that of Node's modules, which is another one in a test of jest: jest 29 reports a failed test to
 * its parent process as JSON that is written there, and dies where the failure holds a bigint.
 */
function bigintPrototypes(): ReadonlySet<object> {
  const boxed = boxedElsewhere();
  return new Set<object>([BigInt.prototype, ...(boxed === undefined ? [] : [Object.getPrototypeOf(boxed) as object])]);
}

/** A bigint as an object of the realm of Node's modules; a runtime that cannot clone one has no other realm here. */
function boxedElsewhere(): object | undefined {
  try {
    return deserialize(serialize(Object(0n))) as object;
  } catch {
    return undefined;
  }
}

function toDecimal(this: bigint): string {
  return BigInt.prototype.toString.call(this);
}

import { deserialize, serialize } from 'node:v8';

/**
 * Makes `JSON.stringify` write a bigint as its decimal digits, where it would throw.
 *
 * What this package returns is full of 64-bit ids, and a copy of it (`{ ...key }`, a structured clone, a record in a log)
 * has no `toJSON` of its own: nothing but the prototype of the bigints reaches all of these. An application that has
 * given bigints a `toJSON` before keeps it, and can do so later.
 */
export function writeBigintsInJSON(): void {
  for (const prototype of bigintPrototypes()) {
    if (Object.hasOwn(prototype, 'toJSON')) continue;
    // Reflect, because frozen intrinsics stay as they are.
    Reflect.defineProperty(prototype, 'toJSON', { value: toDecimal, configurable: true, writable: true });
  }
}

/**
 * That of this realm, and that of Node's modules, which is another one in a test of jest: jest 29 reports a failed test to
 * its parent process as JSON that is written there, and dies where the failure holds a bigint.
 */
function bigintPrototypes(): ReadonlySet<object> {
  const boxed = deserialize(serialize(Object(0n))) as object;
  return new Set<object>([BigInt.prototype, Object.getPrototypeOf(boxed) as object]);
}

function toDecimal(this: bigint): string {
  return BigInt.prototype.toString.call(this);
}

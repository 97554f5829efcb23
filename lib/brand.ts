import { types } from 'node:util';

const ordinary = Function.prototype[Symbol.hasInstance];

/**
 * Makes `instanceof` recognise instances of the same class in another copy of this package: a second installed one, or
 * one that a module registry (`jest.resetModules()`) has loaded again. Their prototypes carry the same brand. Of
 * subclasses only their own instances count.
 *
 * No value makes `instanceof` throw, not even a revoked proxy. The brand alone does not make an instance, since any object
 * can have it.
 * @param fields own properties that the constructor of every copy makes, with their types
 */
export function recognizeCopies(
  base: { readonly prototype: object },
  name: string,
  fields: Readonly<Record<string, 'string' | 'number' | 'object'>>,
): void {
  const brand = Symbol.for(`llm-datadist.${name}`);
  const hasInstance = function (this: unknown, value: unknown): boolean {
    try {
      return ordinary.call(this, value) || (this === base && inherits(value, brand) && hasOwn(value, fields));
    } catch {
      // A proxy that does not answer is no instance.
      return false;
    }
  };
  Object.defineProperty(base.prototype, brand, { value: true });
  // Not declared in the class: types go by the class, and so do declarations of it.
  Object.defineProperty(base, Symbol.hasInstance, { value: hasInstance, configurable: true });
}

/** Whether a prototype of a value has the brand; neither the value itself nor a proxy above it is trusted to say so. */
function inherits(value: unknown, brand: symbol): value is object {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false;
  let prototype = Object.getPrototypeOf(value) as object | null;
  while (prototype !== null && !types.isProxy(prototype)) {
    if (Object.hasOwn(prototype, brand)) return true;
    prototype = Object.getPrototypeOf(prototype) as object | null;
  }
  return false;
}

/** Whether a value has these properties itself, with these types. */
export function hasOwn(value: object, fields: Readonly<Record<string, string>>): boolean {
  return Object.entries(fields).every(([key, type]) => {
    const field: unknown = Object.getOwnPropertyDescriptor(value, key)?.value;
    return typeof field === type;
  });
}

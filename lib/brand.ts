const ordinary = Function.prototype[Symbol.hasInstance];

/**
 * Makes `instanceof` recognise instances of the same class in another copy of this package: a second installed one, or
 * one that a module registry (`jest.resetModules()`) has loaded again. Their prototypes carry the same brand. Of
 * subclasses only their own instances count.
 *
 * No value makes `instanceof` throw, not even a revoked proxy.
 */
export function recognizeCopies(base: { readonly prototype: object }, name: string): void {
  const brand = Symbol.for(`llm-datadist.${name}`);
  const hasInstance = function (this: unknown, value: unknown): boolean {
    try {
      return ordinary.call(this, value) || (this === base && inherits(value, brand));
    } catch {
      // A proxy that does not answer is no instance.
      return false;
    }
  };
  Object.defineProperty(base.prototype, brand, { value: true });
  // Not declared in the class: types go by the class, and so do declarations of it.
  Object.defineProperty(base, Symbol.hasInstance, { value: hasInstance, configurable: true });
}

/** Whether the prototype of a value has the brand; the value itself need not be trusted to say so. */
function inherits(value: unknown, brand: symbol): boolean {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false;
  const prototype = Object.getPrototypeOf(value) as object | null;
  return prototype !== null && brand in prototype;
}

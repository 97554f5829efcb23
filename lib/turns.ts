import type { Turns } from './backend/backend';

/**
 * Has methods settle in a later turn of the event loop than the one that they are called in, where the backend has turns: also
 * those that are refused, or done, before they get there. A loop that tries again whatever it gets starves no timer then.
 * @param turnsOf those of the object that a method is called on; it must not throw, whatever it is called on
 */
export function takeTurns<T extends object>(
  prototype: T,
  methods: readonly (keyof T)[],
  turnsOf: (self: unknown) => Turns | undefined,
): void {
  for (const name of methods) {
    const method = prototype[name] as (...args: unknown[]) => Promise<unknown>;
    const inTurns = function (this: unknown, ...args: unknown[]): Promise<unknown> {
      const answer = Reflect.apply(method, this, args);
      const turns = turnsOf(this);
      return turns === undefined ? answer : afterTurn(answer, turns);
    };
    Object.defineProperties(inTurns, { name: { value: method.name }, length: { value: method.length } });
    Object.defineProperty(prototype, name, { value: inTurns, writable: true, configurable: true });
  }
}

async function afterTurn(answer: Promise<unknown>, turns: Turns): Promise<unknown> {
  const { count } = turns;
  try {
    return await answer;
  } finally {
    // What came from the backend has taken one already.
    if (turns.count === count) await turns.next();
  }
}

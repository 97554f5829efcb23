import type { Clock } from './clock';
import type { Refusal } from './refusal';

/** The wait for some milliseconds of a clock. */
export interface Wait {
  readonly passed: Promise<void>;
  /** Nobody waits any more: a timer would keep the process alive. A clock without `after` has none to call off. */
  readonly callOff: () => void;
}

export function waitFor(clock: Clock, ms: number): Wait {
  if (clock.after === undefined) return { passed: clock.sleep(ms), callOff: () => undefined };
  let callOff = (): void => undefined;
  const passed = new Promise<void>((resolve) => {
    callOff = clock.after?.(ms, resolve) ?? callOff;
  });
  return { passed, callOff };
}

/** What a peer of this process answers, unless it takes longer. @throws Refusal then */
export async function within<T>(clock: Clock, ms: number, answer: Promise<T>, refusal: () => Refusal): Promise<T> {
  const { passed, callOff } = waitFor(clock, ms);
  const late = passed.then(() => {
    throw refusal();
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    callOff();
  }
}

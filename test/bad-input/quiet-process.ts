import { setFlagsFromString } from 'node:v8';
import { runInNewContext, runInThisContext } from 'node:vm';

/** The `process` of a test is jest's imitation: events of the process never reach it. */
export const realProcess = runInThisContext('process') as NodeJS.Process;

/** Has what earlier test files of this process left behind collected, and what is to be said of it said. */
async function collectGarbage(): Promise<void> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (let i = 0; i < 2; i++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Expects of all tests of a file that no rejection or exception is left unhandled, and that nothing is warned of. */
export function expectQuietProcess(): void {
  const events: unknown[] = [];
  const onEvent = (event: unknown): void => {
    events.push(event);
  };

  beforeAll(async () => {
    await collectGarbage();
    realProcess.on('unhandledRejection', onEvent).on('uncaughtException', onEvent).on('warning', onEvent);
  });

  afterAll(async () => {
    // Rejections are reported when the microtasks of a task have run, warnings on the next tick.
    await new Promise((resolve) => setImmediate(resolve));
    realProcess.off('unhandledRejection', onEvent).off('uncaughtException', onEvent).off('warning', onEvent);
    expect(events).toEqual([]);
  });
}

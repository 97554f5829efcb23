import { runInThisContext } from 'node:vm';
import { collectGarbage } from '../fixtures/garbage';

/** The `process` of a test is jest's imitation: events of the process never reach it. */
export const realProcess = runInThisContext('process') as NodeJS.Process;

/** Expects of all tests of a file that no rejection or exception is left unhandled, and that nothing is warned of. */
export function expectQuietProcess(): void {
  const events: unknown[] = [];
  const onEvent = (event: unknown): void => {
    events.push(event);
  };

  beforeAll(async () => {
    // What earlier test files of this process left behind is not of this one.
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

import { collectYoung } from './garbage';
import type { NativeReport, NativeRequest } from './native-messages';
import { NATIVE_MEASUREMENTS } from './native-measurements';
import type { Line } from './result';
import { Unavailable } from './unavailable';

// A native suite in a process of its own: asked once, it answers and ends.
async function answer({ suite, rounds, milliseconds }: NativeRequest): Promise<NativeReport> {
  const measurement = NATIVE_MEASUREMENTS.find(({ name }) => name === suite);
  if (measurement === undefined) throw new RangeError(`there is no native suite "${suite}"`);
  try {
    return { lines: await measurement.measure({ rounds, milliseconds, collectGarbage: collectYoung }) };
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    const reason = error.message;
    return { lines: measurement.held.map((name): Line => ({ suite, name, verdict: 'not measured', reason })) };
  }
}

if (process.send === undefined) throw new Error('this file is run by a process of benchmarks only');
process.once('message', (request: NativeRequest) => {
  answer(request).then(
    (report) => {
      process.send?.(report, () => {
        process.disconnect();
      });
    },
    // As an uncaught exception it is told on stderr, and ends the process.
    (error: unknown) => {
      queueMicrotask(() => {
        throw error;
      });
    },
  );
});

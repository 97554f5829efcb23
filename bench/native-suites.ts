import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { NativeReport, NativeRequest } from './native-messages';
import { NATIVE_MEASUREMENTS } from './native-measurements';
import type { Line } from './result';
import type { Suite } from './suite';

/** The suites of the native backend, each run in a process of its own. */
export const NATIVE_SUITES: readonly Suite[] = NATIVE_MEASUREMENTS.map(({ name, title }) => ({
  name,
  title,
  backend: 'native',
  run: ({ rounds, milliseconds }) => runElsewhere({ suite: name, rounds, milliseconds }),
}));

async function runElsewhere(request: NativeRequest): Promise<readonly Line[]> {
  const child = fork(join(__dirname, 'native-process.js'));
  let report: NativeReport | undefined;
  child.once('message', (message) => {
    report = message as NativeReport;
  });
  const ended = once(child, 'close');
  child.send(request);
  const [code, signal] = (await ended) as [number | null, NodeJS.Signals | null];
  if (report !== undefined && code === 0) return report.lines;
  const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
  throw new Error(`the process of the suite ${request.suite} ended with ${how}`);
}

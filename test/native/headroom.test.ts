import { runChild } from './fixtures/child';
import { isSanitized } from './fixtures/host';
import type { StandInMethod } from './standin/control';

const TEST_LIMIT_MS = 600_000;

/** How many threads the library may start in a call, and the function that it is. */
const CALLS: Readonly<Record<string, readonly [threads: number, method: StandInMethod]>> = {
  init: [50, 'Initialize'],
  linkClusters: [16, 'LinkLlmClusters'],
  unlinkClusters: [16, 'UnlinkLlmClusters'],
  switchRole: [20, 'SetRole'],
};

test(
  'a process that cannot start the threads which the library needs is told, instead of hanging in it',
  async () => {
    const { code, signal, stdout, stderr, violations, calls } = await runChild(
      'headroom.js',
      [isSanitized ? 'free' : 'limited'],
      {
        under: ['prlimit', `--stack=${64 * 1024 * 1024}`],
      },
    );
    expect({ code, signal, stderr, violations }).toEqual({ code: 0, signal: null, stderr: '', violations: [] });
    const answer = JSON.parse(stdout) as Record<string, { limited: unknown; unlimited: unknown }>;
    const refused = (operation: string, message: string) => ({
      // A sanitizer ends the process itself when there is no room for what it needs beside a thread.
      ...(!isSanitized && {
        limited: { code: 'LLM_FAILED', operation, message: expect.stringContaining(message) as unknown },
      }),
      unlimited: 'settled',
    });
    for (const [operation, [threads]] of Object.entries(CALLS)) {
      expect(answer[operation]).toMatchObject(refused(operation, `cannot start the ${threads} threads`));
    }
    expect(answer.thread).toMatchObject(refused('init', 'cannot start a thread for the call'));
    // The library was asked when there was room, and not before.
    const { object } = calls.find(({ method }) => method === 'LinkLlmClusters')!;
    for (const [operation, [, method]] of Object.entries(CALLS)) {
      const made = calls.filter((call) => call.method === method && call.object === object);
      expect([operation, made.length]).toEqual([operation, 1]);
    }
  },
  TEST_LIMIT_MS,
);

import { runChild } from './fixtures/child';
import { isEmulated, isSanitized } from './fixtures/host';

const TEST_LIMIT_MS = 600_000;
/** The smallest block that an allocator gives. */
const LEAST_LEAK_BYTES = 16;

test(
  'a million pulls of 64 blocks leave no memory behind',
  async () => {
    const isSlow = isEmulated || isSanitized;
    const end = await runChild('memory-growth.js', [isSlow ? '20000' : '1000000'], {
      // V8 makes room for more young objects now and then, which is no business of this test.
      flags: ['--expose-gc', '--max-semi-space-size=1'],
      journal: false,
    });
    expect(end).toMatchObject({ code: 0, signal: null, stderr: '' });
    const { before, middle, after, callsBetween } = JSON.parse(end.stdout) as Record<string, number>;
    // The heap grows by a step now and then; a leak grows in both halves. Sanitizers keep what is freed, and an emulator
    // what it has translated.
    const bytesPerCall = Math.min(middle! - before!, after! - middle!) / callsBetween!;
    if (!isSlow) expect(bytesPerCall).toBeLessThan(LEAST_LEAK_BYTES / 2);
  },
  TEST_LIMIT_MS,
);

test.each(['one', 'many'])(
  'threads and handles of an instance end with finalize() (%s instances, many lives)',
  async (instances) => {
    const lives = isEmulated ? '20' : '200';
    const end = await runChild('thread-growth.js', [lives, instances]);
    expect(end).toMatchObject({ code: 0, signal: null, stderr: '', violations: [] });
    const { base, last } = JSON.parse(end.stdout) as Record<'base' | 'last', object>;
    expect(last).toEqual(base);
  },
  TEST_LIMIT_MS,
);

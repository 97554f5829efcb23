import { runChild } from './fixtures/child';
import { isEmulated, isSanitized } from './fixtures/host';

const TEST_LIMIT_MS = 600_000;

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
    const { before, after } = JSON.parse(end.stdout) as { before: number; after: number };
    // Sanitizers keep what is freed, and an emulator what it has translated.
    if (!isSlow) expect(after / before).toBeLessThan(1.02);
  },
  TEST_LIMIT_MS,
);

test.each(['one', 'many'])(
  'threads and handles go with the handles of instances (%s instances, many lives)',
  async (instances) => {
    const lives = isEmulated ? '20' : '200';
    const end = await runChild('thread-growth.js', [lives, instances], { flags: ['--expose-gc'] });
    expect(end).toMatchObject({ code: 0, signal: null, stderr: '', violations: [] });
    const { base, last } = JSON.parse(end.stdout) as Record<'base' | 'last', object>;
    expect(last).toEqual(base);
  },
  TEST_LIMIT_MS,
);

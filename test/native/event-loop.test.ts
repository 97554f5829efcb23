import { runChild } from './fixtures/child';

const TRANSFERS = 64;
const TEST_LIMIT_MS = 600_000;

test(
  `files are read and names are looked up while ${TRANSFERS} transfers are inside the library`,
  async () => {
    // The thread that a transfer would take is the only one that there is.
    const end = await runChild('event-loop.js', [String(TRANSFERS)], { env: { UV_THREADPOOL_SIZE: '1' } });
    expect(end).toMatchObject({ code: 0, signal: null, stderr: '', violations: [] });
    expect(JSON.parse(end.stdout)).toEqual({
      done: [true, true, true],
      threadsInside: TRANSFERS,
      codes: ['LLM_NOT_YET_LINK'],
    });
  },
  TEST_LIMIT_MS,
);

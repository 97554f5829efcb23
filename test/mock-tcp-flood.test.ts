import { setImmediate } from 'node:timers';
import { FrameError, FrameKind, writeHeader } from '../lib/backend/mock/tcp/frame';
import { FrameDecoder } from '../lib/backend/mock/tcp/frame-decoder';
import { MAX_EXTENTS, readTransfer, writeCacheId } from '../lib/backend/mock/tcp/messages';
import { FRAME_WORK, TURN_WORK, TurnBudget } from '../lib/backend/mock/tcp/turn-budget';
import type { Frames } from './fixtures/frames';
import { frame } from './fixtures/frames';
import { dial, hello, intruder, listening, transfer } from './fixtures/intruder';

jest.setTimeout(120_000);

const KINDS = Object.entries(FrameKind);
const BYTES: readonly FrameKind[] = [FrameKind.PULLED, FrameKind.PUSHED];
const hasCache = (id: number) => frame(FrameKind.HAS_CACHE, id, writeCacheId(1n));
const repeated = (count: number, bytes: Buffer) => Buffer.concat(Array.from({ length: count }, () => bytes));
const WRITE_OF_TEN = transfer([{ offset: 0, length: 5 }]);

/** A decoder, what it spent so far, and what it had spent when it passed something on. */
function spending() {
  const seen = { spent: 0, before: [] as number[] };
  const pass = (_kind: FrameKind, _id: number, bytes: Buffer): number => {
    seen.before.push(seen.spent);
    return bytes.length;
  };
  const decoder = new FrameDecoder({ takeFrame: pass, takeBytes: pass }, (work) => {
    seen.spent += work;
  });
  return { seen, decoder };
}

describe('what a peer sends is paid for before it is looked at:', () => {
  test.each(KINDS)('a frame of kind %s', (_name, kind) => {
    const { seen, decoder } = spending();
    decoder.take(frame(kind, 9, Buffer.alloc(1)));
    expect(seen.before).toHaveLength(1);
    expect(seen.before[0]).toBeGreaterThanOrEqual(FRAME_WORK);
  });

  test.each(KINDS.filter(([, kind]) => !BYTES.includes(kind)))('an empty frame of kind %s', (_name, kind) => {
    const { seen, decoder } = spending();
    decoder.take(repeated(100, frame(kind, 9)));
    expect(seen.before).toHaveLength(100);
    for (const [i, before] of seen.before.entries()) expect(before).toBeGreaterThanOrEqual((i + 1) * FRAME_WORK);
  });

  test.each(KINDS.filter(([, kind]) => !BYTES.includes(kind)))('all fields of a frame of kind %s', (_name, kind) => {
    const { seen, decoder } = spending();
    const bytes = frame(kind, 9, Buffer.alloc(2 ** 20));
    // As a socket delivers it.
    for (let at = 0; at < bytes.length; at += 2 ** 16) decoder.take(bytes.subarray(at, at + 2 ** 16));
    expect(seen.before).toHaveLength(1);
    expect(seen.before[0]).toBeGreaterThanOrEqual(MAX_EXTENTS / 2);
  });
});

describe('an empty frame of bytes', () => {
  test.each(KINDS.filter(([, kind]) => BYTES.includes(kind)))('of kind %s is an error', (_name, kind) => {
    const { decoder } = spending();
    expect(() => decoder.take(writeHeader(kind, 9, 0))).toThrow(FrameError);
    expect(() => decoder.take(writeHeader(kind, 9, 0))).toThrow('has no bytes');
  });
});

test('an empty extent is an error', () => {
  expect(() => readTransfer(transfer([{ offset: 3, length: 0 }]))).toThrow(FrameError);
});

describe('work that exceeds a turn', () => {
  test('is paid for in the turns that follow', async () => {
    let turns = 0;
    const end = new Promise<number>((resolve) => {
      const budget = new TurnBudget(() => {
        expect(budget.isSpent).toBe(false);
        resolve(turns);
      });
      budget.spend(10 * TURN_WORK);
      const count = () => {
        turns += 1;
        if (budget.isSpent) setImmediate(count);
      };
      setImmediate(count);
    });
    expect(await end).toBeGreaterThanOrEqual(9);
  });

  test('leaves nothing behind', async () => {
    let ends = 0;
    let wake: (() => void) | undefined;
    const budget = new TurnBudget(() => {
      ends += 1;
      wake?.();
    });
    for (let i = 1; i <= 3; i++) {
      const end = new Promise<void>((resolve) => {
        wake = resolve;
      });
      budget.spend(TURN_WORK - 1);
      expect(budget.isSpent).toBe(false);
      await end;
      expect(ends).toBe(i);
    }
  });
});

/** A listener, a linked peer of it that behaves, and one that does not. */
async function attacked() {
  const { port } = await listening();
  const healthy = await intruder(port, 10n);
  const attacker = await intruder(port);
  const ask = async () => {
    healthy.socket.write(hasCache(20));
    expect(await healthy.next()).toMatchObject({ kind: FrameKind.ANSWER, id: 20 });
  };
  return { port, attacker, ask };
}

describe('a linked peer loses its connection, and others do not, by', () => {
  const write = (...after: Buffer[]) => Buffer.concat([frame(FrameKind.WRITE, 10, WRITE_OF_TEN), ...after]);
  test.each<[string, Buffer, number]>([
    ['empty PUSHED', frame(FrameKind.PUSHED, 10), 0],
    ['empty PUSHED of a WRITE', write(frame(FrameKind.PUSHED, 10)), 0],
    ['empty PULLED', frame(FrameKind.PULLED, 10), 0],
    ['PULLED that was not asked for', frame(FrameKind.PULLED, 10, Buffer.alloc(1)), 0],
    ['PUSHED without a WRITE', frame(FrameKind.PUSHED, 10, Buffer.alloc(1)), 0],
    ['PUSHED of another WRITE', write(frame(FrameKind.PUSHED, 11, Buffer.alloc(1))), 0],
    [
      'PUSHED behind a WRITE that is complete',
      write(frame(FrameKind.PUSHED, 10, Buffer.alloc(10)), frame(FrameKind.PUSHED, 10, Buffer.alloc(1))),
      1,
    ],
    ['an answer that was not asked for', frame(FrameKind.ANSWER, 10), 0],
    ['a refusal that was not asked for', frame(FrameKind.REFUSAL, 10), 0],
    ['an empty extent to read', frame(FrameKind.READ, 10, transfer([{ offset: 0, length: 0 }])), 0],
    ['an empty extent to write', frame(FrameKind.WRITE, 10, transfer([{ offset: 0, length: 0 }])), 0],
  ])('%s', async (_what, bytes, answers) => {
    const { attacker, ask } = await attacked();
    attacker.socket.write(bytes);
    // What was answered before may be lost with the connection.
    let seen = 0;
    while ((await attacker.next()) !== undefined) seen += 1;
    expect(seen).toBeLessThanOrEqual(answers);
    await ask();
  });
});

test.each([
  ['an empty PUSHED first', frame(FrameKind.PUSHED, 10)],
  ['an empty PULLED first', frame(FrameKind.PULLED, 10)],
  ['an empty PUSHED before the link', Buffer.concat([hello(9n), frame(FrameKind.PUSHED, 10)])],
  ['an empty PULLED before the link', Buffer.concat([hello(9n), frame(FrameKind.PULLED, 10)])],
  ['PUSHED before the link', Buffer.concat([hello(9n), frame(FrameKind.PUSHED, 10, Buffer.alloc(1))])],
])('a stranger that sends %s loses its connection at once', async (_what, bytes) => {
  const { port, ask } = await attacked();
  const stranger = await dial(port);
  stranger.socket.write(bytes);
  for (let seen = 0; (await stranger.next()) !== undefined; seen++) expect(seen).toBeLessThan(1);
  await ask();
});

describe('a flood of', () => {
  const COUNT = 60_000;
  const many = Array.from({ length: MAX_EXTENTS }, (_, i) => ({ offset: i % 4000, length: 1 }));
  const refused = transfer([{ offset: 0, length: 9 }], { cacheId: 99n });
  const perFrame = (COUNT * FRAME_WORK) / TURN_WORK;
  const perExtent = (3 * MAX_EXTENTS) / TURN_WORK / 2;

  async function untilAnswered(frames: Frames): Promise<void> {
    for (let next = await frames.next(); next?.id !== 99; next = await frames.next()) expect(next).toBeDefined();
  }

  test.each<[string, Buffer, number]>([
    ['CANCEL', repeated(COUNT, frame(FrameKind.CANCEL, 10)), perFrame],
    ['RELEASE', repeated(COUNT, frame(FrameKind.RELEASE, 0)), perFrame],
    ['HAS_CACHE', repeated(COUNT / 6, hasCache(10)), perFrame / 6],
    ['TABLE', repeated(COUNT / 6, frame(FrameKind.TABLE, 10)), perFrame / 6],
    [
      'PUSHED of a refused WRITE',
      Buffer.concat([
        frame(FrameKind.WRITE, 10, refused),
        repeated(COUNT, frame(FrameKind.PUSHED, 10, Buffer.alloc(1))),
      ]),
      perFrame,
    ],
    [
      'READ with many extents of an unknown cache',
      repeated(3, frame(FrameKind.READ, 10, transfer(many, { cacheId: 99n }))),
      perExtent,
    ],
    [
      'READ with many extents that are given up',
      repeated(3, Buffer.concat([frame(FrameKind.READ, 10, transfer(many)), frame(FrameKind.CANCEL, 10)])),
      perExtent,
    ],
  ])('%s leaves turns to others', async (_what, bytes, leastTurns) => {
    const { attacker, ask } = await attacked();
    let turns = 0;
    let isOver = false;
    const count = () => {
      turns += 1;
      if (!isOver) setImmediate(count);
    };
    attacker.socket.write(Buffer.concat([bytes, hasCache(99)]));
    count();
    let answers = 0;
    const asking = (async () => {
      for (; !isOver; answers++) await ask();
    })();
    await untilAnswered(attacker);
    isOver = true;
    await asking;
    expect(turns).toBeGreaterThan(leastTurns);
    expect(answers).toBeGreaterThan(3);
  });
});

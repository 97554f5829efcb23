import { inJobs } from '../lib/conformance/jobs';

/** Work whose end a test decides. */
class Works {
  readonly begun: string[] = [];
  readonly #ends = new Map<string, { resolve: (result: string) => void; reject: (error: Error) => void }>();

  readonly work = (item: string): Promise<string> => {
    this.begun.push(item);
    return new Promise((resolve, reject) => this.#ends.set(item, { resolve, reject }));
  };

  async finish(item: string): Promise<void> {
    this.#ends.get(item)!.resolve(item.toUpperCase());
    await new Promise(setImmediate);
  }

  async fail(item: string): Promise<void> {
    this.#ends.get(item)!.reject(new Error(item));
    await new Promise(setImmediate);
  }
}

test('so many works run at the same time, and results come in the order of the items', async () => {
  const works = new Works();
  const taken: string[] = [];
  const all = inJobs(['a', 'b', 'c', 'd'], 2, works.work, (result) => taken.push(result));
  expect(works.begun).toEqual(['a', 'b']);
  await works.finish('b');
  expect([works.begun, taken]).toEqual([['a', 'b', 'c'], []]);
  await works.finish('c');
  await works.finish('a');
  expect([works.begun, taken]).toEqual([
    ['a', 'b', 'c', 'd'],
    ['A', 'B', 'C'],
  ]);
  await works.finish('d');
  await all;
  expect(taken).toEqual(['A', 'B', 'C', 'D']);
});

test('after a failure nothing more is begun, and what was begun is waited for', async () => {
  const works = new Works();
  let settled = false;
  const all = inJobs(['a', 'b', 'c'], 2, works.work, () => undefined).catch((error: unknown) => {
    settled = true;
    return error;
  });
  await works.fail('b');
  expect([works.begun, settled]).toEqual([['a', 'b'], false]);
  await works.finish('a');
  expect(await all).toEqual(new Error('b'));
  expect(works.begun).toEqual(['a', 'b']);
});

test('nothing to do is soon done', async () => {
  const taken: string[] = [];
  await inJobs(
    [],
    3,
    () => Promise.resolve('never'),
    (result) => taken.push(result),
  );
  expect(taken).toEqual([]);
});

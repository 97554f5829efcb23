import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

// The project `examples` of jest.config.js runs them; here is what makes them a recipe book.

const EXAMPLES = join(__dirname, '..', 'examples');
const folders = readdirSync(EXAMPLES);

test('there are examples', () => {
  expect(folders).toContain('own-backend');
});

describe.each(folders)('the example %s', (folder) => {
  const tests = readdirSync(join(EXAMPLES, folder)).filter((name) => name.endsWith('.test.ts'));

  test('is run by a test', () => {
    expect(tests.length).toBeGreaterThan(0);
  });

  test.each(tests)('%s says first what it is about', (name) => {
    const [comment = ''] =
      /^\/\*\*\n(?: \*.*\n)+ \*\/\n/.exec(readFileSync(join(EXAMPLES, folder, name), 'utf8')) ?? [];
    expect(comment.split('\n').length).toBeGreaterThan(4);
  });
});

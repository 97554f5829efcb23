import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GUARD_RULES } from '../../lib';

const root = join(__dirname, '..', '..');
const text = readFileSync(join(root, 'native', 'SAFETY.md'), 'utf8');
const { predicates } = JSON.parse(
  readFileSync(join(root, 'test', 'conformance', 'recordings', 'crashes.json'), 'utf8'),
) as { predicates: unknown[] };

describe('the table of who answers what the library does not survive', () => {
  test('has every condition once, in order', () => {
    const numbers = Array.from(text.matchAll(/^\| (\d+) /gm), ([, number]) => Number(number));
    expect(numbers).toEqual(predicates.map((_, i) => i + 1));
  });

  test('names files that are there', () => {
    const files = Array.from(text.matchAll(/\b(?:lib|native|test)\/[\w./-]+\.(?:ts|cc|json|md)\b/g), ([file]) => file);
    expect(files.length).toBeGreaterThan(predicates.length);
    expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([]);
  });

  test('names the file in which a value is tried', () => {
    const values = readFileSync(join(root, 'test', 'native', 'safety-values.test.ts'), 'utf8');
    const numbers = Array.from(text.matchAll(/^\| (\d+) .*safety-values/gm), ([, number]) => number);
    expect(numbers.length).toBeGreaterThan(20);
    // As the first element of a row of cases, or in the title of a test.
    const isTried = (number = '') => new RegExp(`^ +\\[?${number},|predicate ${number}:`, 'm').test(values);
    expect(numbers.filter((number) => !isTried(number))).toEqual([]);
  });

  test('names rules that there are', () => {
    const rules = Array.from(
      text.matchAll(/\brules? `([\w-]+)`(?: and `([\w-]+)`)?/g),
      (match: (string | undefined)[]) => match.slice(1).filter((rule) => rule !== undefined),
    ).flat();
    expect(rules.length).toBeGreaterThan(20);
    expect(rules.filter((rule) => !Object.hasOwn(GUARD_RULES, rule))).toEqual([]);
  });
});

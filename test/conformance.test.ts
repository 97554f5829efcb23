import { describeBackend, mockBackends, shippedScenarios } from '../lib/conformance';
import { handWritten, random } from './fixtures/recordings';

describeBackend('the mock', { source: mockBackends }, { test, expect, describe });

describe('the recordings', () => {
  test('are all there', () => {
    expect(handWritten.length).toBeGreaterThanOrEqual(86);
    expect(random.length).toBeGreaterThanOrEqual(310);
  });

  test('are shipped, with scenarios of our own that have the answers of the library too', () => {
    const shipped = shippedScenarios().map(({ name }) => name);
    expect(shipped).toEqual(expect.arrayContaining([...handWritten, ...random].map(({ name }) => name)));
    expect(shipped.length).toBeGreaterThanOrEqual(86 + 310 + 180);
  });

  test('have names of their own', () => {
    const names = shippedScenarios().map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  test('hold calls of every kind, successful and refused', () => {
    const seen = new Set<string>();
    for (const { steps } of [...handWritten, ...random]) {
      for (const step of steps) seen.add('status' in step ? `${step.op} ${step.status === 0}` : step.op);
    }
    const answered = [
      'init',
      'setRole',
      'register',
      'link',
      'unlink',
      'pullCache',
      'pullBlocks',
      'pushCache',
      'pushBlocks',
    ];
    expect([...seen].sort()).toEqual(
      [
        ...answered.flatMap((op) => [`${op} true`, `${op} false`]),
        ...['unregister true', 'unregister false', 'raw false', 'finalize'],
      ].sort(),
    );
  });
});

import { LLMException, LLMStatusCode } from '../lib';
import { withAdvice } from '../lib/exception';
import { alsoAtCaller, failureOf } from '../lib/rejection';
import { callSite } from '../lib/stack';

const released = Promise.resolve();
const cause = new Error('the reason');

/** An exception with all that one can carry, a part of which it gets after it was made. */
function full(): LLMException {
  const exception = new LLMException(LLMStatusCode.LLM_TIMEOUT, {
    operation: 'pushBlocks',
    message: 'it took too long',
    detail: 'of the runtime',
    remedy: 'Wait.',
    recovery: 'retry',
    deadline: 'package',
    clusterId: 1n,
    results: [{ remoteClusterId: 1n, statusCode: 0, code: 'LLM_SUCCESS' }],
    cause,
  });
  Object.defineProperty(exception, 'released', { value: released, configurable: true, writable: true });
  return Object.assign(exception, { layersCompleted: 3, ofTheProgram: 'a note' });
}

/** Everything of its own, but the stack. */
function own(exception: object): Record<string, unknown> {
  const { stack, ...others } = Object.getOwnPropertyDescriptors(exception) as Record<string, PropertyDescriptor>;
  expect(stack).toBeDefined();
  return others;
}

describe('an exception that a second call is rejected with', () => {
  test('is another one with all that the first one carries, and the stack of its caller', () => {
    const exception = full();
    const { stack } = exception;
    const copy = alsoAtCaller(exception, callSite()) as LLMException;
    expect(copy).not.toBe(exception);
    expect(copy).toBeInstanceOf(LLMException);
    expect(own(copy)).toEqual(own(exception));
    expect(copy.released).toBe(released);
    expect(copy.cause).toBe(cause);
    expect(copy.stack).toContain('rejection.test.ts');
    expect(copy.stack).not.toBe(stack);
    expect(exception.stack).toBe(stack);
    expect(copy.toJSON()).toEqual(exception.toJSON());
  });

  test('is of the same class, and can be given other advice', () => {
    class Mine extends LLMException {}
    const copy = alsoAtCaller(new Mine(1, { operation: 'finalize' }), callSite());
    expect(copy).toBeInstanceOf(Mine);
    expect(withAdvice(copy as LLMException, 'Do this.').message).toMatch(/Do this\.$/);
  });
});

test.each([
  ['the name of the method', (exception: LLMException) => failureOf(exception, 'pushCache', 7n)],
  ['other advice', (exception: LLMException) => withAdvice(exception, 'Do that.', 'relink')],
])('an exception with %s keeps what it was given since it was made', (_, change) => {
  const changed = change(full()) as LLMException;
  expect(changed).toMatchObject({
    layersCompleted: 3,
    ofTheProgram: 'a note',
    deadline: 'package',
    detail: 'of the runtime',
  });
  expect(changed.released).toBe(released);
  expect(changed.cause).toBe(cause);
  expect(Object.keys(changed)).not.toContain('released');
});

import { inspect } from 'node:util';
import { LLMBackendError, LLMException } from '../lib/exception';
import { knownStatusCodes, LLMStatusCode, operations, remedyOf, statusName } from '../lib/status';
import { count, fieldsOf, pullFailure, result, UNKNOWN_STATUS as UNKNOWN } from './fixtures/exceptions';

const { LLM_FAILED, LLM_LINK_FAILED, LLM_SUCCESS, LLM_TIMEOUT } = LLMStatusCode;

const invalid = (value: unknown): never => value as never;

const LINK_ONCE =
  'Link that cluster once, for all its calls together (linkClusters), with the life that the peer repor' +
  'ts now; then repeat the call with a new key of the peer.';

describe('LLMException', () => {
  test('carries the status, the operation and what to do', () => {
    expect(fieldsOf(pullFailure())).toEqual({
      name: 'LLMException',
      message:
        'pullBlocks failed: LLM_NOT_YET_LINK (0x5010B007): there is no link to that cluster; cluster 1, cache 3. ' +
        LINK_ONCE,
      code: 'LLM_NOT_YET_LINK',
      statusCode: 0x5010b007,
      status_code: 0x5010b007,
      operation: 'pullBlocks',
      recoverable: true,
      recovery: 'relink',
      remedy: LINK_ONCE,
      clusterId: 1n,
      cacheId: 3n,
    });
  });

  test('has no properties that were not given', () => {
    expect(Object.keys(new LLMException(LLM_FAILED, { operation: 'init', detail: '', message: '' }))).toEqual([
      'name',
      'message',
      'code',
      'statusCode',
      'status_code',
      'operation',
      'recoverable',
      'recovery',
      'remedy',
    ]);
  });

  test('is an Error to those who look', () => {
    const exception = pullFailure();
    expect(exception).toBeInstanceOf(Error);
    expect(exception).toBeInstanceOf(LLMException);
    expect(Object.prototype.toString.call(exception)).toBe('[object Error]');
    expect(Error.prototype.toString.call(exception)).toBe(`LLMException: ${exception.message}`);
    expect(String(exception)).toBe(`LLMException: ${exception.message}`);
  });

  test('has a stack that starts where it was made and is not enumerable', () => {
    const { stack, message } = pullFailure();
    expect(stack?.split('\n')[0]).toBe(`LLMException: ${message}`);
    expect(stack?.split('\n')[1]).toMatch(/at pullFailure .*exceptions\.ts/);
    expect(Object.keys(pullFailure())).not.toContain('stack');
  });

  test('has the stack of a subclass start where that was made', () => {
    class PullFailure extends LLMException {}
    const exception = new PullFailure(LLM_FAILED, { operation: 'pullCache' });
    expect(exception.stack?.split('\n')[1]).toMatch(/exception\.test\.ts/);
    expect(exception).toBeInstanceOf(LLMException);
  });

  test('keeps its cause as any Error does', () => {
    const cause = new Error('below');
    const exception = pullFailure({ cause });
    expect(exception.cause).toBe(cause);
    expect(Object.keys(exception)).not.toContain('cause');
    expect('cause' in pullFailure({ cause: undefined })).toBe(false);
  });

  test('keeps a number that nobody has named', () => {
    expect(new LLMException(UNKNOWN, { operation: 'pushCache' })).toMatchObject({
      statusCode: 107050,
      status_code: 107050,
      code: 'LLM_UNKNOWN_STATUS',
      recoverable: undefined,
      recovery: 'relink',
      message: expect.stringMatching(
        /^pushCache failed: LLM_UNKNOWN_STATUS \(0x0001A22A = 107050\): a number/,
      ) as string,
    });
  });

  test.each([...knownStatusCodes, UNKNOWN])('describes status %d on every operation', (code) => {
    for (const operation of operations) {
      const { message, remedy } = new LLMException(code, { operation });
      expect(message).toContain(`${operation} failed: ${statusName(code)} (0x`);
      expect(message.endsWith(`. ${remedy}`)).toBe(true);
      expect(remedy).toBe(remedyOf(code, operation));
    }
  });

  test('takes over what the caller knows better', () => {
    const exception = new LLMException(LLMStatusCode.LLM_KV_CACHE_NOT_EXIST, {
      operation: 'pullBlocks',
      message: 'cache 9 is not registered here.',
      remedy: 'Register it first',
      recovery: 'fix-input',
      clusterId: 1n,
      cacheId: 9n,
    });
    expect(exception).toMatchObject({ recovery: 'fix-input', remedy: 'Register it first' });
    expect(exception.message).toBe(
      'pullBlocks failed: LLM_KV_CACHE_NOT_EXIST (0x5010B002): cache 9 is not registered here; cluster 1. ' +
        'Register it first.',
    );
  });

  test.each([
    ['EI0006: no answer', 'EI0006: no answer.'],
    ['No answer.', 'No answer.'],
    ['没有响应。', '没有响应。'],
    ['EI0006\n  Possible cause:\t none\r\n', 'EI0006 Possible cause: none.'],
  ])('puts the detail %j into the message as a sentence on the same line', (detail, sentence) => {
    const exception = pullFailure({ detail });
    expect(exception.detail).toBe(detail);
    expect(exception.message).toContain(`; cluster 1, cache 3. ${sentence} ${LINK_ONCE}`);
  });

  test('tells each cluster that failed apart', () => {
    const results = [result(7n, LLM_LINK_FAILED), result(8n, LLM_SUCCESS), result(9n, UNKNOWN)];
    const exception = new LLMException(LLM_LINK_FAILED, { operation: 'linkClusters', results });
    expect(exception.message).toContain(
      ': the link could not be made; 2 of 3 clusters failed: ' +
        'cluster 7 LLM_LINK_FAILED (0x5010B009), cluster 9 LLM_UNKNOWN_STATUS (0x0001A22A = 107050). Check',
    );
    expect(exception.results).toEqual(results);
    expect(exception.results).not.toBe(results);
  });

  test.each([
    ['one cluster that failed with the status of the call', [result(7n, LLM_TIMEOUT)], 'time limit; cluster 7. '],
    [
      'one cluster that failed otherwise',
      [result(7n, LLM_FAILED)],
      'time limit; 1 of 1 clusters failed: cluster 7 LLM_FAILED (0xFFFFFFFF). ',
    ],
    ['clusters that did not fail', [result(7n, LLM_SUCCESS)], 'time limit. '],
    ['a call that was refused as a whole', [], 'time limit. '],
  ])('says it briefly for %s', (_case, results, text) => {
    const exception = new LLMException(LLM_TIMEOUT, { operation: 'unlinkClusters', results });
    expect(exception.message).toContain(text);
    expect(exception.results).toEqual(results);
  });

  test('names a cluster once', () => {
    const exception = new LLMException(LLM_TIMEOUT, {
      operation: 'linkClusters',
      clusterId: 7n,
      results: [result(7n, LLM_TIMEOUT)],
    });
    expect(count(exception.message, 'cluster 7')).toBe(1);
  });

  test.each<[string, unknown, unknown]>([
    ['a status as text', '0x5010B007', { operation: 'init' }],
    ['no info', LLM_FAILED, undefined],
    ['no operation', LLM_FAILED, {}],
    ['a message that is no text', LLM_FAILED, { operation: 'init', message: 5 }],
    ['a detail that is no text', LLM_FAILED, { operation: 'init', detail: {} }],
    ['a remedy that is no text', LLM_FAILED, { operation: 'init', remedy: null }],
    ['a cluster id as text', LLM_FAILED, { operation: 'init', clusterId: '1' }],
    ['a recovery that does not exist', LLM_FAILED, { operation: 'init', recovery: 'pray' }],
    ['results that are no list', LLM_FAILED, { operation: 'linkClusters', results: {} }],
    ['a result without a status', LLM_FAILED, { operation: 'linkClusters', results: [{ remoteClusterId: 1n }] }],
  ])('refuses %s with a TypeError', (_case, statusCode, info) => {
    expect(() => new LLMException(invalid(statusCode), invalid(info))).toThrow(
      expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }) as Error,
    );
  });

  test.each<[string, unknown, unknown]>([
    ['a negative status', -1, { operation: 'init' }],
    ['a status beyond 32 bits', 2 ** 32, { operation: 'init' }],
    ['a cluster id beyond 64 bits', LLM_FAILED, { operation: 'init', clusterId: 2n ** 64n }],
    ['a cache id beyond 64 bits', LLM_FAILED, { operation: 'init', cacheId: 2n ** 63n }],
  ])('refuses %s with a RangeError', (_case, statusCode, info) => {
    expect(() => new LLMException(invalid(statusCode), invalid(info))).toThrow(
      expect.objectContaining({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' }) as Error,
    );
  });
});

describe('LLMException.from', () => {
  const exception = new LLMException(LLM_LINK_FAILED, {
    operation: 'linkClusters',
    message: 'one of them did not answer',
    remedy: 'Wait for it',
    recovery: 'none',
    detail: 'EI0006',
    clusterId: 5n,
    cacheId: -1n,
    results: [result(5n, LLM_LINK_FAILED), result(6n, LLM_SUCCESS)],
  });

  test('returns an exception as it is', () => {
    expect(LLMException.from(exception)).toBe(exception);
  });

  test.each([
    ['a structured clone', structuredClone(exception)],
    ['the output of toJSON', exception.toJSON()],
    ['parsed JSON', JSON.parse(JSON.stringify(exception)) as unknown],
    ['a plain copy', fieldsOf(exception)],
  ])('rebuilds an exception from %s', (_form, value) => {
    const rebuilt = LLMException.from(value);
    expect(rebuilt).toBeInstanceOf(LLMException);
    expect(fieldsOf(rebuilt)).toEqual(fieldsOf(exception));
    expect(rebuilt.stack?.split('\n')[0]).toBe(String(exception));
    expect(JSON.stringify(rebuilt)).toBe(JSON.stringify(exception));
  });

  test('rebuilds an exception that has only what it must have', () => {
    const least = new LLMException(UNKNOWN, { operation: 'init' });
    expect(fieldsOf(LLMException.from(JSON.parse(JSON.stringify(least))))).toEqual(fieldsOf(least));
  });

  const json = exception.toJSON();
  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['text', JSON.stringify(exception)],
    ['a list', [exception]],
    ['another error', new Error('boom')],
    ['an object of another name', { ...json, name: 'Error' }],
    ['an exception without a message', { ...json, message: undefined }],
    ['an exception without a status', { ...json, statusCode: undefined }],
    ['an exception with an impossible status', { ...json, statusCode: 1.5 }],
    ['an exception without an operation', { ...json, operation: undefined }],
    ['an exception with an unknown recovery', { ...json, recovery: 'pray' }],
    ['an exception with a cluster id that is no number', { ...json, clusterId: ' 5' }],
    ['an exception with a cluster id beyond 64 bits', { ...json, clusterId: '18446744073709551616' }],
    ['an exception with a result that is none', { ...json, results: ['5'] }],
  ])('refuses %s with a TypeError that has the reason as its cause', (_what, value) => {
    expect(() => LLMException.from(value)).toThrow(
      expect.objectContaining({
        name: 'TypeError',
        code: 'ERR_INVALID_ARG_TYPE',
        message: expect.stringContaining('an LLMException, its structured clone or its toJSON()') as string,
        cause: expect.objectContaining({ message: expect.any(String) as string }) as Error,
      }) as Error,
    );
  });
});

describe('LLMBackendError', () => {
  const attempts = [
    { path: '/opt/lib64/libllm_datadist.so', error: 'libascendcl.so:\n cannot open shared object file' },
    { path: '/opt/lib64/libllm_engine.so', error: 'undefined symbol: x' },
  ];

  test('lists each file with the words of the loader, and what to do', () => {
    const error = new LLMBackendError(attempts);
    expect(error.message.split('\n')).toEqual([
      'The native backend cannot be loaded; tried:',
      '  /opt/lib64/libllm_datadist.so: libascendcl.so: cannot open shared object file',
      '  /opt/lib64/libllm_engine.so: undefined symbol: x',
      'Source the CANN environment (source <CANN directory>/set_env.sh, which sets ASCEND_HOME_PATH), ' +
        "or set LLM_DATADIST_LIBRARY to the path of libllm_datadist.so, or choose backend: 'mock' where no NPU is meant to be used.",
    ]);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: 'LLMBackendError', code: 'ERR_LLM_BACKEND_UNAVAILABLE' });
    expect(error.attempts).toEqual(attempts);
    expect(String(error)).toBe(`LLMBackendError: ${error.message}`);
  });

  test('says when there was nothing to try', () => {
    expect(new LLMBackendError([]).message).toMatch(
      /^The native backend cannot be loaded; no file was found to try\.\n/,
    );
  });

  test('is not changed by what becomes of the list', () => {
    const list = [...attempts];
    const error = new LLMBackendError(list);
    list.length = 0;
    expect(error.attempts).toHaveLength(2);
    expect(Object.isFrozen(error.attempts)).toBe(true);
  });

  test('is inspected and logged with each fact once', () => {
    const error = new LLMBackendError(attempts);
    const text = inspect(error);
    expect(text).toMatch(/^LLMBackendError: The native backend/);
    expect(count(text, 'undefined symbol: x')).toBe(1);
    expect(text).toContain("code: 'ERR_LLM_BACKEND_UNAVAILABLE'");
    expect(JSON.parse(JSON.stringify(error))).toEqual({
      name: 'LLMBackendError',
      message: error.message,
      code: 'ERR_LLM_BACKEND_UNAVAILABLE',
      attempts,
    });
  });

  test('keeps its cause', () => {
    const cause = new Error('below');
    expect(new LLMBackendError([], { cause }).cause).toBe(cause);
    expect('cause' in new LLMBackendError([])).toBe(false);
  });

  test.each([undefined, 'x', [{ path: '/a' }], [{ error: 'x' }], [null]])(
    'refuses %j as a list of attempts',
    (list) => {
      expect(() => new LLMBackendError(invalid(list))).toThrow(
        expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }) as Error,
      );
    },
  );
});

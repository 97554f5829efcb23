import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { Worker } from 'node:worker_threads';
import { LLMException } from '../lib/exception';
import { LLMStatusCode } from '../lib/status';
import { compileLib } from './fixtures/compiled-lib';
import { count, fieldsOf, pullFailure, result, UNKNOWN_STATUS as UNKNOWN } from './fixtures/exceptions';

const { LLM_FAILED, LLM_LINK_FAILED, LLM_SUCCESS, LLM_TIMEOUT } = LLMStatusCode;

describe('LLMException in logs', () => {
  const full = (): LLMException =>
    new LLMException(LLM_LINK_FAILED, {
      operation: 'linkClusters',
      detail: 'EI0006: no answer',
      clusterId: 2n ** 64n - 1n,
      cacheId: -1n,
      results: [result(7n, LLM_SUCCESS), result(2n ** 63n, LLM_LINK_FAILED)],
      cause: new Error('below'),
    });

  test('is JSON with 64-bit ids as text and without a stack', () => {
    const exception = full();
    expect(JSON.parse(JSON.stringify({ err: exception }))).toEqual({
      err: {
        name: 'LLMException',
        message: exception.message,
        code: 'LLM_LINK_FAILED',
        statusCode: 0x5010b009,
        hex: '0x5010B009',
        operation: 'linkClusters',
        recoverable: true,
        recovery: 'retry',
        remedy: exception.remedy,
        detail: 'EI0006: no answer',
        clusterId: '18446744073709551615',
        cacheId: '-1',
        results: [
          { remoteClusterId: '7', statusCode: 0, code: 'LLM_SUCCESS' },
          { remoteClusterId: '9223372036854775808', statusCode: 0x5010b009, code: 'LLM_LINK_FAILED' },
        ],
      },
    });
    expect(Object.keys(new LLMException(LLM_FAILED, { operation: 'init' }).toJSON())).not.toContain('clusterId');
  });

  test('is inspected as its stack and what the message does not say', () => {
    const exception = pullFailure();
    expect(inspect(exception)).toBe(`${exception.stack ?? ''} {\n  recoverable: true,\n  recovery: 'relink'\n}`);
  });

  test('is inspected with its cause, with results that succeeded and with what the application added', () => {
    const exception = Object.assign(full(), { requestId: 'r-1' });
    const text = inspect(exception);
    expect(count(text, exception.message)).toBe(1);
    expect(count(text, exception.remedy)).toBe(1);
    expect(text).toContain("\n  requestId: 'r-1',\n");
    expect(text).toContain('\n  [cause]: Error: below\n      at ');
    expect(text).toContain("\n    { remoteClusterId: 7n, statusCode: 0, code: 'LLM_SUCCESS' },\n");
  });

  test('is inspected without results that the message tells, and without what is not known', () => {
    const exception = new LLMException(UNKNOWN, { operation: 'linkClusters', results: [result(7n, UNKNOWN)] });
    expect(inspect(exception)).toBe(`${exception.stack ?? ''} {\n  recovery: 'retry'\n}`);
  });

  test('is inspected in colours', () => {
    expect(inspect(pullFailure(), { colors: true })).toContain("recovery: \u001b[32m'relink'\u001b[39m");
  });

  test('is indented inside other objects', () => {
    const exception = pullFailure();
    const lines = inspect({ list: [{ exception }] }, { depth: 5 }).split('\n');
    const first = lines.findIndex((line) => line.includes('exception: LLMException: pullBlocks failed'));
    const indent = /^ */.exec(lines[first] ?? '')?.[0] ?? '';
    expect(indent.length).toBeGreaterThan(2);
    expect(lines[first + 1]).toMatch(new RegExp(`^${indent}    at `));
    expect(lines).toContain(`${indent}  recovery: 'relink'`);
    expect(lines).toContain(`${indent}}`);
  });

  test('is one line where it stands too deep', () => {
    const exception = pullFailure();
    expect(inspect({ a: { b: { c: exception } } }, { depth: 2 })).toContain(`c: [${String(exception)}]`);
    expect(inspect([pullFailure({ cause: exception })], { depth: 1 })).toContain(`[cause]: [${String(exception)}]`);
  });

  test.each([null, Infinity])('is inspected once in a cycle, at depth %p', (depth) => {
    const exception = pullFailure();
    const outer = pullFailure({ cause: Object.assign(exception, { self: exception }) });
    Object.assign(exception, { outer: { outer } });
    const text = inspect(outer, { depth });
    expect(text).toContain('self: [Circular]');
    expect(text).toContain('outer: { outer: [Circular] }');
    // The next inspection starts anew.
    expect(inspect(outer, { depth })).toBe(text);
  });

  test('can be inspected again after a field of it has thrown', () => {
    const exception = pullFailure();
    const hostile = {
      [inspect.custom]() {
        throw new Error('hostile');
      },
    };
    Object.assign(exception, { hostile });
    expect(() => inspect(exception)).toThrow('hostile');
    Object.assign(exception, { hostile: 1 });
    expect(inspect(exception)).toContain('hostile: 1');
  });

  test('is inspected without a stack when it has lost it', () => {
    const exception = Object.defineProperty(pullFailure(), 'stack', { value: undefined });
    expect(inspect(exception)).toMatch(/^\[LLMException: pullBlocks failed: .*\] \{\n {2}recoverable: true,/);
  });

  test('reads well in a failing expectation', async () => {
    const exception = pullFailure();
    expect(() => {
      expect({ exception }).toEqual({ exception: 1 });
    }).toThrow(`[LLMException: ${exception.message}]`);
    await expect(expect(Promise.reject(exception)).rejects.toThrow('something else')).rejects.toThrow(
      exception.message,
    );
    await expect(expect(Promise.reject(exception)).resolves.toBe(1)).rejects.toThrow(String(exception));
    await expect(Promise.reject(exception)).rejects.toThrow(LLMException);
    await expect(Promise.reject(exception)).rejects.toMatchObject({ code: 'LLM_NOT_YET_LINK' });
  });
});

describe('LLMException across threads and processes', () => {
  const compiled = compileLib('exception');
  afterAll(() => {
    compiled.remove();
  });

  const startWorker = (uncaught: boolean): Worker =>
    new Worker(join(__dirname, 'fixtures/exception-worker.js'), {
      workerData: { exceptionModule: compiled.path, uncaught },
    });

  test('survives a structured clone with all its fields', () => {
    const exception = pullFailure({ detail: 'd', results: [result(7n, LLM_TIMEOUT)], cause: () => 'not cloneable' });
    expect(fieldsOf(structuredClone(exception))).toEqual(fieldsOf(exception));
  });

  test('survives the way to a worker and back', async () => {
    const exception = pullFailure({ detail: 'EI0006', cause: new Error('below') });
    const worker = startWorker(false);
    worker.postMessage(exception);
    const [message] = (await once(worker, 'message')) as [
      { received: object; rebuilt: object; isException: boolean; rebuiltStack: string; own: object },
    ];
    await once(worker, 'exit');
    expect(message.isException).toBe(true);
    expect(fieldsOf(message.received)).toEqual(fieldsOf(exception));
    expect(fieldsOf(message.rebuilt)).toEqual(fieldsOf(exception));
    expect(message.rebuiltStack.split('\n')[0]).toBe(String(exception));
    expect(LLMException.from(message.own)).toMatchObject({
      name: 'LLMException',
      message: expect.stringMatching(
        /^pullBlocks failed: LLM_TIMEOUT .* cluster 18446744073709551615, cache -7\./,
      ) as string,
      code: 'LLM_TIMEOUT',
      recovery: 'relink',
      clusterId: 2n ** 64n - 1n,
      cacheId: -7n,
      detail: 'EI0006: no answer',
    });
  });

  test('that ends a worker reaches its error event as an Error with its fields and its stack', async () => {
    const worker = startWorker(true);
    const exited = new Promise((resolve) => worker.once('exit', resolve));
    const [error] = (await once(worker, 'error')) as [LLMException];
    expect(await exited).toBe(1);
    // It comes from the realm of node, whose Error is not the one of jest.
    expect(Object.prototype.toString.call(error)).toBe('[object Error]');
    expect(error).toMatchObject({ name: 'LLMException', code: 'LLM_TIMEOUT', clusterId: 2n ** 64n - 1n });
    expect(error.stack).toContain('exception-worker.js');
    expect(LLMException.from(error).toJSON()).toMatchObject({ code: 'LLM_TIMEOUT', cacheId: '-7' });
  });

  test.each([
    ['thrown', 'throw exception;'],
    ['rejected', 'Promise.reject(exception);'],
  ])('that nobody catches when %s ends the process with a report', (_how, statement) => {
    const script = `
      const { LLMException } = require(${JSON.stringify(compiled.path)});
      const exception = new LLMException(${LLM_TIMEOUT}, { operation: 'pullBlocks', clusterId: 1n });
      ${statement}`;
    const { status, stderr } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
    expect(status).toBe(1);
    expect(count(stderr, 'LLMException: pullBlocks failed: LLM_TIMEOUT (0x5010B01A): the call ran into')).toBe(1);
    expect(stderr).toMatch(/\n {4}at \[eval\]/);
    expect(stderr).toMatch(/\n {2}recovery: 'relink'/);
  });
});

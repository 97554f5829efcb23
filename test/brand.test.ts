import { LLMBackendError, LLMConfig, LLMDataDist, LLMException, LLMRole, LLMStatusCode } from '../lib';
import { recognizeCopies } from '../lib/brand';
import { VERSION } from '../lib/version';

/** The package as a module registry loads it once more. */
function anotherCopy(): typeof import('../lib') {
  let copy: typeof import('../lib') | undefined;
  jest.isolateModules(() => {
    copy = jest.requireActual<typeof import('../lib')>('../lib');
  });
  return copy!;
}

const other = anotherCopy();
const INFO = { operation: 'init' };

function exceptionOf({ LLMException: Class }: typeof other): LLMException {
  return new Class(LLMStatusCode.LLM_FAILED, INFO);
}

test('the version is the one of package.json', () => {
  expect(VERSION).toBe(jest.requireActual<{ version: string }>('../package.json').version);
});

describe('an instance of another copy', () => {
  test('is one of its class', () => {
    expect(other.LLMException).not.toBe(LLMException);
    expect(exceptionOf(other)).toBeInstanceOf(LLMException);
    expect(exceptionOf({ ...other, LLMException })).toBeInstanceOf(other.LLMException);
    expect(new other.LLMBackendError([])).toBeInstanceOf(LLMBackendError);
    expect(new LLMBackendError([])).toBeInstanceOf(other.LLMBackendError);
  });

  test('is one where it is of a subclass there', () => {
    class Theirs extends other.LLMException {}
    expect(new Theirs(LLMStatusCode.LLM_FAILED, INFO)).toBeInstanceOf(LLMException);
  });

  test('is none of a subclass here', () => {
    class Mine extends LLMException {}
    expect(exceptionOf(other)).not.toBeInstanceOf(Mine);
    expect(new LLMException(LLMStatusCode.LLM_FAILED, INFO)).not.toBeInstanceOf(Mine);
    expect(new Mine(LLMStatusCode.LLM_FAILED, INFO)).toBeInstanceOf(Mine);
    expect(new Mine(LLMStatusCode.LLM_FAILED, INFO)).toBeInstanceOf(LLMException);
    class MyBackendError extends LLMBackendError {}
    expect(new other.LLMBackendError([])).not.toBeInstanceOf(MyBackendError);
    expect(new MyBackendError([])).toBeInstanceOf(LLMBackendError);
  });

  test('is none of another class', () => {
    expect(exceptionOf(other)).not.toBeInstanceOf(LLMBackendError);
    expect(new other.LLMBackendError([])).not.toBeInstanceOf(LLMException);
    expect(new other.LLMBackendError([])).toBeInstanceOf(Error);
  });

  test('is returned as it is by LLMException.from', () => {
    const exception = exceptionOf(other);
    expect(LLMException.from(exception)).toBe(exception);
    const clone: unknown = structuredClone(exception);
    expect(clone).not.toBeInstanceOf(LLMException);
    expect(LLMException.from(clone)).toBeInstanceOf(LLMException);
  });

  test('configures an instance, where it is an LLMConfig', async () => {
    const config = new other.LLMConfig({ deviceId: 3, listenIpInfo: '127.0.0.1:26123' });
    expect(config).toBeInstanceOf(LLMConfig);
    expect(new LLMConfig(config).deviceId).toBe(3);
    const dist = new LLMDataDist(LLMRole.PROMPT, 1n, { backend: 'mock' });
    await dist.init(config);
    await dist.finalize();
  });
});

describe('no value makes instanceof throw', () => {
  const revoked = (target: object) => {
    const { proxy, revoke } = Proxy.revocable(target, {});
    revoke();
    return proxy;
  };
  const hostile = (trap: 'getPrototypeOf' | 'has') =>
    new Proxy(
      {},
      {
        [trap]: () => {
          throw new Error('no');
        },
      },
    );

  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['a number', 1],
    ['a text', 'LLMException'],
    ['a bigint', 1n],
    ['a symbol', Symbol.for('llm-datadist.LLMException')],
    ['an object', { name: 'LLMException', statusCode: 1 }],
    ['an object that says so itself', { [Symbol.for('llm-datadist.LLMException')]: true }],
    ['an object below one that says so', Object.create({ [Symbol.for('llm-datadist.LLMException')]: true })],
    [
      'an object below a prototype of another copy',
      Object.create(Object.create(other.LLMException.prototype) as object),
    ],
    ['an object below a proxy that has everything', Object.create(new Proxy({}, { has: () => true }))],
    [
      'an object with the fields, below a proxy that has everything',
      Object.assign(Object.create(new Proxy({}, { has: () => true, get: () => true })) as object, {
        name: 'LLMException',
        message: 'no',
        statusCode: 1,
        operation: 'init',
      }),
    ],
    ['an object without a prototype', Object.create(null)],
    ['an Error', new Error('no')],
    ['a function', () => undefined],
    ['the prototype', LLMException.prototype],
    ['the class', LLMException],
    ['a revoked proxy', revoked({})],
    ['a revoked proxy of a function', revoked(() => undefined)],
    ['an object below a revoked proxy', Object.create(revoked({}))],
    ['a proxy that throws', hostile('getPrototypeOf')],
    ['an object below a proxy that throws', Object.create(hostile('has'))],
  ])('%s', (_, value) => {
    expect(value instanceof LLMException).toBe(false);
    expect(value instanceof LLMBackendError).toBe(false);
  });

  test('nor does a class that is none', () => {
    const has = LLMException[Symbol.hasInstance] as (this: unknown, value: unknown) => boolean;
    for (const self of [undefined, null, 1, {}]) expect(has.call(self, new Error('no'))).toBe(false);
  });

  test('a proxy of an exception is one', () => {
    expect(new Proxy(exceptionOf(other), {})).toBeInstanceOf(LLMException);
  });
});

test.each<[string, unknown]>([
  ['the prototype', LLMException.prototype],
  ['an object below the prototype', Object.create(LLMException.prototype)],
  ['an object below the prototype of another copy', Object.create(other.LLMException.prototype)],
  ['an object below one with the brand', Object.create({ [Symbol.for('llm-datadist.LLMException')]: true })],
  ['an object below a proxy that has everything', Object.create(new Proxy({}, { has: () => true }))],
  [
    'a proxy that does not show its fields',
    new Proxy(exceptionOf({ ...other, LLMException }), {
      getOwnPropertyDescriptor: () => {
        throw new Error('no');
      },
      get: () => {
        throw new Error('no');
      },
    }),
  ],
])('LLMException.from refuses %s', (_, value) => {
  expect(() => LLMException.from(value)).toThrow(
    expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }) as Error,
  );
});

test('brands keep classes apart that have other names', () => {
  class A {
    readonly a = 1;
  }
  class B {
    readonly a = 1;
  }
  class C {
    readonly a = 1;
  }
  recognizeCopies(A, 'TestA', { a: 'number' });
  recognizeCopies(B, 'TestA', { a: 'number' });
  recognizeCopies(C, 'TestC', { a: 'number' });
  expect(new A()).toBeInstanceOf(B);
  expect(new A()).not.toBeInstanceOf(C);
});

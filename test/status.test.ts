import { readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import {
  describeStatus,
  knownStatusCodes,
  LLMStatusCode,
  operations,
  recoveries,
  recoveryOf,
  remedyOf,
  statusHex,
  statusName,
  statusOfName,
  type Locale,
  type Operation,
} from '../lib/status';

const PUBLIC = {
  LLM_SUCCESS: 0x0,
  LLM_FAILED: 0xffffffff,
  LLM_WAIT_PROC_TIMEOUT: 0x5010b001,
  LLM_KV_CACHE_NOT_EXIST: 0x5010b002,
  LLM_PARAM_INVALID: 0x5010b005,
  LLM_NOT_YET_LINK: 0x5010b007,
  LLM_ALREADY_LINK: 0x5010b008,
  LLM_LINK_FAILED: 0x5010b009,
  LLM_UNLINK_FAILED: 0x5010b00a,
  LLM_NOTIFY_PROMPT_UNLINK_FAILED: 0x5010b00b,
  LLM_CLUSTER_NUM_EXCEED_LIMIT: 0x5010b00c,
  LLM_PROCESSING_LINK: 0x5010b00d,
  LLM_DEVICE_OUT_OF_MEMORY: 0x5010b00e,
  LLM_EXIST_LINK: 0x5010b018,
  LLM_FEATURE_NOT_ENABLED: 0x5010b019,
  LLM_TIMEOUT: 0x5010b01a,
  LLM_LINK_BUSY: 0x5010b01b,
  LLM_OUT_OF_MEMORY: 0x5010b01c,
};
const INTERNAL = {
  LLM_REPEAT_REQUEST: 1343270915,
  LLM_REQUEST_ALREADY_COMPLETED: 1343270916,
  LLM_ENGINE_FINALIZED: 1343270918,
  LLM_PREFIX_ALREADY_EXIST: 1343270927,
  LLM_PREFIX_NOT_EXIST: 1343270928,
  LLM_SEQ_LEN_OVER_LIMIT: 1343270929,
  LLM_NO_FREE_BLOCK: 1343270930,
  LLM_BLOCKS_OUT_OF_MEMORY: 1343270931,
  LLM_CACHE_INCOMPATIBLE: 1343270932,
  LLM_CACHE_KEY_ALREADY_EXIST: 1343270933,
  LLM_COPY_CACHE_FAILED: 1343270934,
  LLM_CACHE_ID_ALREADY_EXIST: 1343270935,
  HIXL_PARAM_INVALID: 103900,
  HIXL_TIMEOUT: 103901,
  HIXL_NOT_CONNECTED: 103902,
  HIXL_ALREADY_CONNECTED: 103903,
  HIXL_NOTIFY_FAILED: 103904,
  HIXL_UNSUPPORTED: 103905,
  HIXL_RESOURCE_EXHAUSTED: 203900,
  HIXL_FAILED: 503900,
};
const RUNTIME = { LLM_DEVICE_MEM_ERROR: 507053, LLM_SUSPECT_REMOTE_ERROR: 507057 };
const NAMED = Object.entries({ ...PUBLIC, ...INTERNAL, ...RUNTIME });
const UNKNOWN = 107050;
const LOCALES: readonly Locale[] = ['en', 'zh-CN'];
const HAN = /\p{Script=Han}/u;

const invalid = (value: unknown): never => value as never;

describe('LLMStatusCode', () => {
  test('holds exactly the 18 public codes', () => {
    expect(LLMStatusCode).toEqual(PUBLIC);
    expect(Object.keys(LLMStatusCode)).toHaveLength(18);
  });

  test('cannot be changed', () => {
    expect(Object.isFrozen(LLMStatusCode)).toBe(true);
  });
});

describe('the catalogue', () => {
  test('names the public, the internal and the runtime codes, and nothing else', () => {
    expect(new Map(knownStatusCodes.map((code) => [statusName(code), code]))).toEqual(new Map(NAMED));
    expect(new Set(knownStatusCodes).size).toBe(40);
  });

  test.each([
    ['public', PUBLIC],
    ['internal', INTERNAL],
    ['runtime', RUNTIME],
    ['unknown', { LLM_UNKNOWN_STATUS: UNKNOWN }],
  ])('tells that %s codes are so', (origin, codes) => {
    for (const [name, code] of Object.entries(codes))
      expect(describeStatus(code)).toMatchObject({ name, code, origin });
  });

  test('keeps a number that nobody has named', () => {
    expect(describeStatus(UNKNOWN)).toEqual({
      name: 'LLM_UNKNOWN_STATUS',
      code: 107050,
      hex: '0x0001A22A',
      meaning: expect.any(String) as string,
      recoverable: undefined,
      remedy: expect.any(String) as string,
      origin: 'unknown',
    });
    expect(statusName(UNKNOWN)).toBe('LLM_UNKNOWN_STATUS');
  });

  test.each([
    [0, '0x00000000'],
    [0x5010b009, '0x5010B009'],
    [0xffffffff, '0xFFFFFFFF'],
    [507053, '0x0007BCAD'],
  ])('writes %d as %s', (code, hex) => {
    expect(statusHex(code)).toBe(hex);
    expect(describeStatus(code).hex).toBe(hex);
  });

  test('has the recoverability of the documentation', () => {
    const documented = new Map(NAMED.map(([name, code]) => [name, describeStatus(code).recoverable]));
    const notRecoverable = [...documented].filter(([, recoverable]) => recoverable === false).map(([name]) => name);
    const undocumented = [...documented].filter(([, recoverable]) => recoverable === undefined).map(([name]) => name);
    expect(notRecoverable).toEqual([
      'LLM_FAILED',
      'LLM_TIMEOUT',
      'HIXL_TIMEOUT',
      'HIXL_NOTIFY_FAILED',
      'HIXL_FAILED',
      'LLM_SUSPECT_REMOTE_ERROR',
    ]);
    expect(undocumented).toEqual([
      'LLM_SUCCESS',
      'LLM_REQUEST_ALREADY_COMPLETED',
      'LLM_ENGINE_FINALIZED',
      'LLM_SEQ_LEN_OVER_LIMIT',
      'LLM_NO_FREE_BLOCK',
      'LLM_BLOCKS_OUT_OF_MEMORY',
      'LLM_CACHE_INCOMPATIBLE',
      'LLM_CACHE_KEY_ALREADY_EXIST',
      'LLM_COPY_CACHE_FAILED',
      'LLM_CACHE_ID_ALREADY_EXIST',
    ]);
  });

  test('is the only place in lib where a code is written as a number', () => {
    const lib = resolve(__dirname, '../lib');
    const offenders = readdirSync(lib, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && file !== 'status.ts')
      .filter((file) => {
        const code = readFileSync(join(lib, file), 'utf8').replace(/\/\*[^]*?\*\/|\/\/.*/g, '');
        return /0x5010_?b0|\b13432709\d\d\b|\b50705[37]\b|\b10390[0-5]\b|\b[25]03900\b/i.test(code);
      });
    expect(offenders).toEqual([]);
  });
});

describe('statusOfName', () => {
  test.each(NAMED)('finds %s', (name, code) => {
    expect(statusOfName(name)).toBe(code);
  });

  test.each([
    ['LLM_WAIT_PROCESS_TIMEOUT', 0x5010b001],
    ['LLM_SEQ_LENOVERLIMIT', 0x5010b011],
    ['0x5010B01A', 0x5010b01a],
    ['0x5010b01a', 0x5010b01a],
    ['0X0001A22A', UNKNOWN],
    ['0x1a22a', UNKNOWN],
    ['0xFFFFFFFF', 0xffffffff],
  ])('understands %s', (name, code) => {
    expect(statusOfName(name)).toBe(code);
  });

  test.each([
    'LLM_UNKNOWN_STATUS',
    'LLM_NOPE',
    'llm_timeout',
    '',
    '0x',
    '0x100000000',
    '0x12 ',
    '12',
    'constructor',
    '__proto__',
  ])('does not know %j', (name) => {
    expect(statusOfName(name)).toBeUndefined();
  });

  test.each([undefined, null, 5, {}])('refuses %p', (name) => {
    expect(() => statusOfName(invalid(name))).toThrow(
      expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }) as Error,
    );
  });
});

describe('describeStatus', () => {
  test('answers in English unless asked for Chinese', () => {
    expect(describeStatus(LLMStatusCode.LLM_TIMEOUT)).toEqual(describeStatus(LLMStatusCode.LLM_TIMEOUT, 'en'));
    expect(describeStatus(LLMStatusCode.LLM_TIMEOUT, 'zh-CN')).toMatchObject({
      name: 'LLM_TIMEOUT',
      meaning: '调用超时',
    });
  });

  test.each(['0x5010B001', undefined, null, {}])('refuses %p as a code', (code) => {
    expect(() => describeStatus(invalid(code))).toThrow(
      expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }) as Error,
    );
  });

  test.each([-1, 2 ** 32, 1.5, NaN, Infinity])('refuses %p as no unsigned 32-bit number', (code) => {
    expect(() => describeStatus(code)).toThrow(
      expect.objectContaining({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' }) as Error,
    );
  });

  test.each(['zh', 'EN', 'constructor', '__proto__', '0', null, 0])('refuses %p as a locale', (locale) => {
    for (const call of [() => describeStatus(0, invalid(locale)), () => remedyOf(UNKNOWN, 'init', invalid(locale))]) {
      expect(call).toThrow(expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }) as Error);
    }
  });
});

describe('advice', () => {
  test('knows the methods of the package', () => {
    expect(operations).toHaveLength(23);
  });

  const everyCode = [...knownStatusCodes, UNKNOWN];

  test.each(everyCode.map((code) => [statusName(code), code] as const))(
    'is there for %s, whatever the operation, in both languages',
    (_name, code) => {
      for (const operation of [...operations, 'somethingElse']) {
        expect(recoveries).toContain(recoveryOf(code, operation));
        expect(remedyOf(code, operation)).toBe(remedyOf(code, operation, 'en'));
        expect(remedyOf(code, operation, 'en')).toMatch(/^[A-Z][\x20-\x7e]*\.$/);
        expect(remedyOf(code, operation, 'zh-CN')).toMatch(HAN);
        expect(remedyOf(code, operation, 'zh-CN')).toMatch(/。$/);
      }
      // A meaning stands inside the sentence of an exception.
      expect(describeStatus(code, 'en').meaning).toMatch(/^(?:[a-z]|HIXL: )[\x20-\x7e]*[^.]$/);
      expect(describeStatus(code, 'zh-CN').meaning).toMatch(HAN);
      expect(describeStatus(code, 'zh-CN').meaning).not.toMatch(/[。.]$/);
    },
  );

  test('of a description is the general one', () => {
    for (const code of everyCode) {
      for (const locale of LOCALES) {
        expect(describeStatus(code, locale).remedy).toBe(remedyOf(code, 'somethingElse', locale));
      }
    }
  });

  test('to a person changes with the operation wherever advice to a program does', () => {
    const unchanged = everyCode.flatMap((code) =>
      operations
        .filter((operation) => recoveryOf(code, operation) !== recoveryOf(code, 'somethingElse'))
        .filter((operation) =>
          LOCALES.some((locale) => remedyOf(code, operation, locale) === remedyOf(code, 'somethingElse', locale)),
        )
        .map((operation) => `${statusName(code)} on ${operation}`),
    );
    expect(unchanged).toEqual([]);
  });

  test('to a person says what advice to a program says', () => {
    const words = new Map([
      ['none', /nothing to do|keep using/i],
      ['retry', /again|repeat/i],
      ['relink', /\blink\b/i],
      ['unlink-first', /\bunlink\b/i],
      ['stale-key', /new key.*do not unlink/],
      ['fatal', /process|again/i],
    ]);
    const contradictions = everyCode.flatMap((code) =>
      operations
        .filter((operation) => !(words.get(recoveryOf(code, operation)) ?? /./).test(remedyOf(code, operation)))
        .map((operation) => `${statusName(code)} on ${operation}: ${remedyOf(code, operation)}`),
    );
    expect(contradictions).toEqual([]);
  });

  /** The cases in which a remedy does not have what it must have. */
  const lacking = (isMeant: (code: number, operation: Operation) => boolean, parts: readonly RegExp[]) =>
    everyCode.flatMap((code) =>
      operations
        .filter((operation) => isMeant(code, operation))
        .filter((operation) => !parts.every((part) => part.test(remedyOf(code, operation))))
        .map((operation) => `${statusName(code)} on ${operation}: ${remedyOf(code, operation)}`),
    );

  test('to unlink says that it is once for all calls of a peer: 32 requests read it at the same time', () => {
    const names = (code: number, operation: Operation) =>
      /unlink/i.test(remedyOf(code, operation)) && recoveryOf(code, operation) !== 'none';
    expect(lacking(names, [/\bonce\b/])).toEqual([]);
  });

  test('to relink says: once, with the life that the peer reports now, and with a new key', () => {
    const relinks = (code: number, operation: Operation) => recoveryOf(code, operation) === 'relink';
    expect(lacking(relinks, [/\bonce\b/, /life that the peer reports now/, /new key/])).toEqual([]);
  });

  test('to repeat a call never names unlink, unless the call is one', () => {
    const retries = (code: number, operation: Operation) =>
      recoveryOf(code, operation) === 'retry' && operation !== 'unlinkClusters';
    expect(lacking(retries, [/^(?!.*unlink)/i])).toEqual([]);
  });

  test('says in Chinese too that a relink is one for all calls of a peer', () => {
    const shared = everyCode.flatMap((code) =>
      operations
        .filter((operation) => recoveryOf(code, operation) === 'relink')
        .filter((operation) => !/一次.*共用.*life.*key/.test(remedyOf(code, operation, 'zh-CN')))
        .map((operation) => `${statusName(code)} on ${operation}`),
    );
    expect(shared).toEqual([]);
  });

  // One operation of each kind; the others of a kind follow below.
  const COLUMNS: readonly Operation[] = [
    'init',
    'finalize',
    'switchRole',
    'linkClusters',
    'unlinkClusters',
    'allocateCache',
    'registerCache',
    'unregisterCache',
    'pullBlocks',
    'copyBlocks',
  ];
  const SHORT: Readonly<Record<string, string>> = {
    'unlink-first': 'unlink',
    'stale-key': 'stale',
    'fix-input': 'input',
    'fix-environment': 'env',
  };
  test.each([
    //                                  init  final role  link  unlink alloc reg  unreg transfer copy
    ['LLM_SUCCESS', '                   none  none  none  none  none   none  none  none   none   none'],
    ['LLM_FAILED', '                    env   fatal env   retry unlink env   input unlink relink fatal'],
    ['LLM_WAIT_PROC_TIMEOUT', '         fatal fatal fatal retry retry  retry retry retry  relink retry'],
    ['LLM_TIMEOUT', '                   fatal fatal fatal retry retry  retry retry retry  relink retry'],
    ['LLM_KV_CACHE_NOT_EXIST', '        input input input input input  input input input  stale  input'],
    ['LLM_PARAM_INVALID', '             input input input input input  input input input  input  input'],
    ['LLM_NOT_YET_LINK', '              relink relink relink retry none relink relink relink relink relink'],
    ['LLM_ALREADY_LINK', '              unlink unlink unlink unlink unlink unlink unlink unlink relink unlink'],
    ['LLM_LINK_FAILED', '               retry retry retry retry unlink retry retry retry  relink retry'],
    ['LLM_UNLINK_FAILED', '             unlink unlink unlink unlink unlink unlink unlink unlink relink unlink'],
    ['LLM_NOTIFY_PROMPT_UNLINK_FAILED', 'unlink unlink unlink unlink unlink unlink unlink unlink unlink unlink'],
    ['LLM_CLUSTER_NUM_EXCEED_LIMIT', '  input input input input input  input input input  input  input'],
    ['LLM_PROCESSING_LINK', '           retry retry retry retry retry  retry retry retry  retry  retry'],
    ['LLM_DEVICE_OUT_OF_MEMORY', '      env   env   env   env   env    env   env   env    env    env'],
    ['LLM_EXIST_LINK', '                unlink unlink unlink unlink unlink unlink unlink unlink unlink unlink'],
    ['LLM_FEATURE_NOT_ENABLED', '       input input input env   input  input input input  env    input'],
    ['LLM_LINK_BUSY', '                 retry retry retry retry retry  retry retry retry  retry  retry'],
    ['LLM_OUT_OF_MEMORY', '             env   env   env   env   env    env   env   env    env    env'],
    ['LLM_DEVICE_MEM_ERROR', '          fatal fatal fatal fatal fatal  fatal fatal fatal  fatal  fatal'],
    ['LLM_SUSPECT_REMOTE_ERROR', '      relink relink relink relink unlink relink relink relink relink relink'],
    ['LLM_UNKNOWN_STATUS', '            env   fatal fatal retry unlink env   fatal fatal  relink fatal'],
  ])('to a program on %s is what the specification suggests', (name, row) => {
    const code = statusOfName(name) ?? UNKNOWN;
    const advice = COLUMNS.map((operation) => recoveryOf(code, operation));
    expect(advice.map((recovery) => SHORT[recovery] ?? recovery)).toEqual(row.trim().split(/\s+/));
  });

  test.each<[Operation, readonly Operation[]]>([
    ['allocateCache', ['allocateMemory']],
    ['unregisterCache', ['deallocateCache', 'free']],
    ['pullBlocks', ['pullCache', 'pushCache', 'pushBlocks', 'transferCacheAsync']],
    ['copyBlocks', ['copyCache', 'swapBlocks', 'read', 'write', 'readBlocks', 'writeBlocks']],
  ])('on %s is that on its kin', (operation, kin) => {
    for (const code of everyCode) {
      for (const other of kin) {
        expect(recoveryOf(code, other)).toBe(recoveryOf(code, operation));
        expect(remedyOf(code, other)).toBe(remedyOf(code, operation));
      }
    }
  });

  test.each(['constructor', '__proto__', 'toString'])('does not trip over an operation named %s', (operation) => {
    expect(recoveryOf(LLMStatusCode.LLM_TIMEOUT, operation)).toBe('retry');
    expect(remedyOf(LLMStatusCode.LLM_TIMEOUT, operation)).toMatch(/larger timeout/);
  });
});

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeStatus, knownStatusCodes, statusHex, statusOfName } from '../lib/status';
import { installedStatuses, parseStatuses } from './fixtures/vendor-header';

describe('the vendor header', () => {
  /** Both ways in which the vendor writes a status, and what must not be taken for one. */
  const SAMPLE = `
    // constexpr Status LLM_IN_A_COMMENT = 1U;
    /* GE_ERRORNO_DEFINE(0b01, 0b01, 0b000, 8, 11, LLM_IN_A_COMMENT_TOO, 1); */
    #define GE_ERRORNO_DEFINE(runtime, type, level, sysid, modid, name, value) \\
      constexpr Status name = value;
    constexpr int32_t LLM_OF_ANOTHER_TYPE = 1;
    constexpr Status LLM_SUCCESS = 0x0U;
    constexpr Status LLM_FAILED = 0xFFFFFFFFU;
    GE_ERRORNO_DEFINE(0b01, 0b01, 0b000, 8, 11, LLM_WAIT_PROC_TIMEOUT, 1);
    GE_ERRORNO_DEFINE( 1, 1, 0, 8, 0xB,
                       LLM_UNLINK_FAILED, 10 );
    constexpr  Status LLM_TIMEOUT=1343270938UL;
  `;
  const SAMPLE_STATUSES = new Map([
    ['LLM_SUCCESS', 0],
    ['LLM_FAILED', 0xffffffff],
    ['LLM_WAIT_PROC_TIMEOUT', 0x5010b001],
    ['LLM_UNLINK_FAILED', 0x5010b00a],
    ['LLM_TIMEOUT', 0x5010b01a],
  ]);

  /** Statuses of a header that the catalogue lacks or gives another number. */
  const drift = (statuses: ReadonlyMap<string, number>) =>
    [...statuses]
      .filter(([name, code]) => name !== 'HIXL_SUCCESS' && statusOfName(name) !== code)
      .map(([name, code]) => `${name} = ${statusHex(code)}`);

  const toolkits: string[] = [];
  const toolkitWith = (header: string): string => {
    const toolkit = mkdtempSync(join(tmpdir(), 'vendor-header-'));
    toolkits.push(toolkit);
    mkdirSync(join(toolkit, 'include/llm_datadist'), { recursive: true });
    writeFileSync(join(toolkit, 'include/llm_datadist/llm_error_codes.h'), header);
    return toolkit;
  };
  afterAll(() => {
    for (const toolkit of toolkits) rmSync(toolkit, { recursive: true });
  });

  test('is read in either of its two notations', () => {
    expect(parseStatuses(SAMPLE)).toEqual(SAMPLE_STATUSES);
  });

  test('is not half understood', () => {
    expect(() => parseStatuses('constexpr Status LLM_X = OTHER;')).toThrow('not an integer literal: OTHER');
    expect(() => parseStatuses('GE_ERRORNO_DEFINE(A, 1, 0, 8, 11, LLM_X, 1);')).toThrow('not an integer literal: A');
  });

  test('is found in a toolkit, and a change of it is noticed', () => {
    const toolkit = toolkitWith(
      'GE_ERRORNO_DEFINE(1, 1, 0, 8, 11, LLM_TIMEOUT, 27); constexpr Status LLM_BRAND_NEW = 7U; constexpr Status LLM_SUCCESS = 0;',
    );
    expect(drift(installedStatuses(toolkit))).toEqual(['LLM_TIMEOUT = 0x5010B01B', 'LLM_BRAND_NEW = 0x00000007']);
  });

  const installed = installedStatuses(process.env.ASCEND_HOME_PATH);
  if (installed.size === 0) {
    test('is not installed on this machine (ASCEND_HOME_PATH): a sample of it agrees with the catalogue', () => {
      expect(drift(installedStatuses(toolkitWith(SAMPLE)))).toEqual([]);
    });
  } else {
    test('that is installed on this machine agrees with the catalogue', () => {
      expect(drift(installed)).toEqual([]);
      const ours = knownStatusCodes
        .map((code) => describeStatus(code))
        .filter(({ name, origin }) => name.startsWith('LLM_') && origin !== 'runtime')
        .map(({ name }) => name);
      expect(ours).toHaveLength(30);
      // The one header names them, the other does not.
      const optional = ['LLM_SUCCESS', 'LLM_FAILED'];
      expect(ours.filter((name) => !installed.has(name) && !optional.includes(name))).toEqual([]);
    });
  }
});

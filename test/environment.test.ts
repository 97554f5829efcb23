import { spawnSync } from 'node:child_process';
import { checkEnvironment, exitTimeoutMs, warnOfUnknownVariables } from '../lib/backend/environment';
import { compileLib } from './fixtures/compiled-lib';

const lib = compileLib('index');
afterAll(() => {
  lib.remove();
});

describe('the values of variables', () => {
  test.each([
    {},
    { LLM_DATADIST_BACKEND: '', LLM_DATADIST_MOCK_FABRIC: '', LLM_DATADIST_EXIT_TIMEOUT: '' },
    { LLM_DATADIST_LIBRARY: '', LLM_DATADIST_ADDON: '' },
    { LLM_DATADIST_BACKEND: 'auto', LLM_DATADIST_MOCK_FABRIC: 'memory', LLM_DATADIST_EXIT_TIMEOUT: '0' },
    { LLM_DATADIST_BACKEND: 'mock', LLM_DATADIST_MOCK_FABRIC: 'tcp', LLM_DATADIST_EXIT_TIMEOUT: '2147483647' },
    { LLM_DATADIST_LIBRARY: './lib.so', LLM_DATADIST_ADDON: 'x.node' },
  ])('may be %j', (env) => {
    expect(() => {
      checkEnvironment(env);
    }).not.toThrow();
  });

  test.each([
    ['LLM_DATADIST_BACKEND', 'Mock', "'auto', 'native' or 'mock'"],
    ['LLM_DATADIST_BACKEND', ' mock', "'auto', 'native' or 'mock'"],
    ['LLM_DATADIST_MOCK_FABRIC', 'udp', "'memory' or 'tcp'"],
    ['LLM_DATADIST_EXIT_TIMEOUT', 'soon', '>= 0 and <= 2147483647'],
    ['LLM_DATADIST_EXIT_TIMEOUT', ' ', '>= 0 and <= 2147483647'],
    ['LLM_DATADIST_EXIT_TIMEOUT', '-1', '>= 0 and <= 2147483647'],
    ['LLM_DATADIST_EXIT_TIMEOUT', '0x10', '>= 0 and <= 2147483647'],
    ['LLM_DATADIST_EXIT_TIMEOUT', '1.5', '>= 0 and <= 2147483647'],
    ['LLM_DATADIST_EXIT_TIMEOUT', '2147483648', '>= 0 and <= 2147483647'],
  ])('may not be %s=%j', (name, value, expected) => {
    const check = () => {
      checkEnvironment({ [name]: value });
    };
    for (const words of [name, expected, JSON.stringify(value)]) expect(check).toThrow(words);
  });

  test('an empty timeout is none', () => {
    expect(exitTimeoutMs({ LLM_DATADIST_EXIT_TIMEOUT: '' })).toBeUndefined();
    expect(exitTimeoutMs({ LLM_DATADIST_EXIT_TIMEOUT: '250' })).toBe(250);
  });
});

describe('a wrong value in a program', () => {
  const program = `
    const { LLMDataDist } = require(process.argv[1]);
    for (const backend of ['auto', 'native', 'mock']) {
      try {
        console.log(backend + ' is ' + new LLMDataDist(1, 1n, { backend }).backendName);
      } catch ({ code, message }) {
        console.log(code + ' ' + message);
      }
    }
  `;

  test.each([
    ['LLM_DATADIST_BACKEND', 'hccl', 'ERR_INVALID_ARG_TYPE'],
    ['LLM_DATADIST_MOCK_FABRIC', 'udp', 'ERR_INVALID_ARG_TYPE'],
    ['LLM_DATADIST_EXIT_TIMEOUT', 'soon', 'ERR_OUT_OF_RANGE'],
  ])('%s is an error whatever the backend, and never a reason for the mock', (name, value, code) => {
    const env = { ...process.env, [name]: value };
    const { stdout } = spawnSync(process.execPath, ['-e', program, lib.path], { encoding: 'utf8', env });
    const lines = stdout.trim().split('\n');
    expect(lines).toHaveLength(3);
    for (const line of lines) expect(line).toMatch(new RegExp(`^${code} .*${name}.*"${value}"`));
  });
});

describe('variables with the prefix of the package that nothing reads', () => {
  let warnings: string[];

  beforeEach(() => {
    warnings = [];
    jest.spyOn(process, 'emitWarning').mockImplementation((message) => {
      warnings.push(String(message));
    });
  });

  afterEach(() => {
    jest.restoreAllMocks();
  });

  test.each([
    ['LLM_DATADIST_BACKNED', 'LLM_DATADIST_BACKEND'],
    ['LLM_DATADIST_LIB', 'LLM_DATADIST_LIBRARY'],
    ['LLM_DATADIST_ADDONS', 'LLM_DATADIST_ADDON'],
    ['LLM_DATADIST_FABRIC', 'LLM_DATADIST_MOCK_FABRIC'],
    ['LLM_DATADIST_TIMEOUT', 'LLM_DATADIST_EXIT_TIMEOUT'],
  ])('%s: one warning names %s', (name, nearest) => {
    warnOfUnknownVariables({ [name]: 'native' });
    warnOfUnknownVariables({ [name]: 'native' });
    expect(warnings).toEqual([expect.stringContaining(`The nearest one is ${nearest};`) as string]);
    expect(warnings[0]).toMatch(new RegExp(`^${name} is set`));
  });

  test('those that Kubernetes makes of a service with the name of the package are none', () => {
    warnOfUnknownVariables({
      LLM_DATADIST_SERVICE_HOST: '10.0.0.11',
      LLM_DATADIST_SERVICE_PORT: '26000',
      LLM_DATADIST_SERVICE_PORT_HTTP: '26000',
      LLM_DATADIST_PORT: 'tcp://10.0.0.11:26000',
      LLM_DATADIST_PORT_26000_TCP: 'tcp://10.0.0.11:26000',
      LLM_DATADIST_PORT_26000_TCP_PROTO: 'tcp',
      LLM_DATADIST_PORT_26000_TCP_PORT: '26000',
      LLM_DATADIST_PORT_26000_TCP_ADDR: '10.0.0.11',
      LLM_DATADIST_BACKEND: 'mock',
    });
    expect(warnings).toEqual([]);
  });

  test('are warned of when the first instance is made', () => {
    const program = `const { LLMDataDist } = require(process.argv[1]); for (const id of [1n, 2n]) new LLMDataDist(1, id, { backend: 'mock' });`;
    const { stderr } = spawnSync(process.execPath, ['-e', program, lib.path], {
      encoding: 'utf8',
      env: { ...process.env, LLM_DATADIST_BACKNED: 'native' },
    });
    expect(stderr.match(/LLMDataDistEnvironmentWarning: LLM_DATADIST_BACKNED is set/g)).toHaveLength(1);
  });
});

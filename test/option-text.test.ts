import { isIpv4, isIpv6, parseListenAddress } from '../lib/option-text/listen-address';
import { parseDigitsAsInt32, parseDouble, parseInt32, parseInt64, parseUint32 } from '../lib/option-text/number-text';
import { ruleOf } from './fixtures/option-rule';

describe('numbers in texts', () => {
  const read = (text: string): unknown[] => [parseInt32(text), parseUint32(text), parseInt64(text), parseDouble(text)];
  const NO = undefined;

  test.each<[string, unknown[]]>([
    ['0', [0, 0, 0n, 0]],
    [' \t\n\v\f\r7', [7, 7, 7n, 7]],
    ['+7', [7, 7, 7n, 7]],
    ['007', [7, 7, 7n, 7]],
    ['0'.repeat(50) + '7', [7, 7, 7n, 7]],
    ['-0', [0, 0, 0n, -0]],
    ['-1', [-1, 4294967295, -1n, -1]],
    ['2147483647', [2147483647, 2147483647, 2147483647n, 2147483647]],
    ['2147483648', [NO, 2147483648, 2147483648n, 2147483648]],
    ['-2147483648', [-2147483648, 2147483648, -2147483648n, -2147483648]],
    ['-2147483649', [NO, 2147483647, -2147483649n, -2147483649]],
    ['4294967295', [NO, 4294967295, 4294967295n, 4294967295]],
    ['-4294967295', [NO, 1, -4294967295n, -4294967295]],
    ['4294967296', [NO, NO, 4294967296n, 4294967296]],
    ['-4294967296', [NO, NO, -4294967296n, -4294967296]],
    ['9223372036854775807', [NO, NO, 2n ** 63n - 1n, 2 ** 63]],
    ['9223372036854775808', [NO, NO, NO, 2 ** 63]],
    ['-9223372036854775808', [NO, NO, -(2n ** 63n), -(2 ** 63)]],
    ['-9223372036854775809', [NO, NO, NO, -(2 ** 63)]],
    ['18446744073709551616', [NO, NO, NO, 2 ** 64]],
    ['9'.repeat(30), [NO, NO, NO, 1e30]],
    ['1.5', [NO, NO, NO, 1.5]],
    ['.5', [NO, NO, NO, 0.5]],
    ['5.', [NO, NO, NO, 5]],
    ['5e-1', [NO, NO, NO, 0.5]],
    ['1e-400', [NO, NO, NO, 0]],
    ...[
      '',
      ' ',
      '+',
      '-',
      '7 ',
      '7x',
      'x7',
      '- 7',
      '+-7',
      '0x7',
      '1,5',
      '.',
      'e1',
      '1e',
      '1e+',
      '1e400',
      'inf',
      'nan',
      '\u00a07',
    ].map((text): [string, unknown[]] => [text, [NO, NO, NO, NO]]),
  ])('%j', (text, values) => {
    expect(read(text)).toEqual(values);
  });

  test('a long text costs no more time than its length', () => {
    for (const text of ['9'.repeat(1_000_000), '0'.repeat(1_000_000) + 'x', ' '.repeat(1_000_000)]) {
      expect([parseInt64(text), parseUint32(text), parseDouble(text)]).toEqual([NO, NO, NO]);
    }
  });

  test.each<[string, number | undefined]>([
    ['0', 0],
    ['0001000', 1000],
    ['2147483647', 2147483647],
    ['2147483648', -2147483648],
    ['4294967296', 0],
    ['99999999999999', 276447231],
    ['9223372036854775807', -1],
    ['9223372036854775808', -1],
    ['9'.repeat(100), -1],
    ['', undefined],
    ['-1', undefined],
    ['+1', undefined],
    [' 1', undefined],
    ['1.5', undefined],
    ['\u0661', undefined],
  ])('digits %j cut to 32 bits', (text, value) => {
    expect(parseDigitsAsInt32(text)).toBe(value);
  });
});

describe('addresses', () => {
  test.each(['0.0.0.0', '127.0.0.1', '255.255.255.255', '1.20.199.249'])('%s is IPv4', (text) => {
    expect([isIpv4(text), isIpv6(text)]).toEqual([true, false]);
  });

  test.each([
    '::',
    '::1',
    '1::',
    'fe80::1',
    '1:2:3:4:5:6:7:8',
    '1:2:3:4:5:6:7::',
    '::2:3:4:5:6:7:8',
    'ABCD::ef01',
    '::1.2.3.4',
  ])('%s is IPv6', (text) => {
    expect([isIpv4(text), isIpv6(text)]).toEqual([false, true]);
  });

  test.each([
    ...[
      '',
      '1',
      '1.2.3',
      '1.2.3.4.5',
      '1.2.3.256',
      '1.2.3.04',
      '1.2.3.',
      '.1.2.3',
      ' 1.2.3.4',
      '1.2.3.4\n',
      '0x1.2.3.4',
    ],
    ...[
      ':',
      ':::',
      '1',
      '1:2:3:4:5:6:7',
      '1:2:3:4:5:6:7:8:9',
      '1:2:3:4::5:6:7:8',
      '1::2::3',
      ':1::',
      '1::2:',
      '12345::',
    ],
    ...['g::', '::1%lo', '::1/64', '1.2.3.4::', '::1.2.3.4:5', '::1.2.3.256', '1:2:3:4:5:6:7:1.2.3.4'],
  ])('%j is no address', (text) => {
    expect([isIpv4(text), isIpv6(text)]).toEqual([false, false]);
  });
});

describe('llm.ListenIpInfo', () => {
  test.each<[string, string, number, number]>([
    ['192.168.1.1:26000', '192.168.1.1', 26000, 26000],
    ['127.0.0.1:0', '127.0.0.1', 0, 0],
    ['127.0.0.1: +026000', '127.0.0.1', 26000, 26000],
    ['127.0.0.1:65536', '127.0.0.1', 65536, 0],
    ['127.0.0.1:95000', '127.0.0.1', 95000, 29464],
    ['127.0.0.1:4294967295', '127.0.0.1', 4294967295, 65535],
    ['[::1]:26000', '::1', 26000, 26000],
    ['[127.0.0.1]:26000', '127.0.0.1', 26000, 26000],
    ['x[127.0.0.1]y:26000', '127.0.0.1', 26000, 26000],
  ])('%j', (text, ip, port, boundPort) => {
    expect(parseListenAddress(text)).toEqual({ ip, port, boundPort });
  });

  test.each<[string, string]>([
    ['', 'it must be "ip:port" or "[ipv6]:port"'],
    ['127.0.0.1', 'it must be "ip:port"'],
    ['127.0.0.1:1:2', 'it must be "ip:port"'],
    ['::1:26000', 'it must be "ip:port"'],
    ['[::1]', 'it must be "ip:port"'],
    [']1.2.3.4[:80:', 'it must be "ip:port"'],
    [':26000', '"" is neither an IPv4 nor an IPv6 address'],
    ['localhost:26000', '"localhost" is neither'],
    [' 127.0.0.1:26000', '" 127.0.0.1" is neither'],
    ['[1.2.3.4:80', '"[1.2.3.4" is neither'],
    ['127.0.0.1:', 'the port "" must be a number from 0 to 4294967295'],
    ['127.0.0.1:abc', 'the port "abc"'],
    ['127.0.0.1:-1', 'the port "-1"'],
    ['127.0.0.1:26000 ', 'the port "26000 "'],
    ['127.0.0.1:4294967296', 'the port "4294967296"'],
    ['[::1]:80:90', 'the port "80:90"'],
  ])('%j is refused', (text, rule) => {
    expect(ruleOf(() => parseListenAddress(text))).toContain(rule);
  });

  test('a long value is cut in the rule', () => {
    const rule = ruleOf(() => parseListenAddress('\n'.repeat(100_000)));
    expect(rule).toContain('\\n"…');
    expect(rule.length).toBeLessThan(500);
  });
});

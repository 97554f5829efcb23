import { spawnSync } from 'node:child_process';
import { unsupportedHost } from '../lib/backend/native/host-support';
import { compileLib } from './fixtures/compiled-lib';

const HOST = { platform: 'linux', arch: 'x64', glibc: '2.36', node: '20.20.2' };

test.each([{}, { arch: 'arm64' }, { glibc: '2.28' }, { glibc: '3.0' }, { glibc: 'unknown' }, { node: '26.0.0' }])(
  'a host is supported: %j',
  (facts) => {
    expect(unsupportedHost({ ...HOST, ...facts })).toBeUndefined();
  },
);

test.each([
  [{ platform: 'darwin', arch: 'arm64', glibc: undefined }, 'macOS is not supported'],
  [{ platform: 'win32', glibc: undefined }, 'Windows is not supported'],
  [{ platform: 'freebsd', glibc: undefined }, 'freebsd is not supported'],
  [{ arch: 'riscv64' }, 'Linux on riscv64 is not supported'],
  [{ glibc: undefined }, /^this Node runs on another C library than glibc \(musl/],
  [{ glibc: '2.27' }, 'glibc 2.27 is too old'],
  [{ node: '18.20.4' }, 'Node 18.20.4 is too old'],
])('a host is not supported: %j', (facts, words) => {
  const text = unsupportedHost({ ...HOST, ...facts });
  expect(text).toMatch(words);
  expect(text).toMatch(/; it needs Linux on x64 or arm64, glibc 2\.28 or later, and Node 20 or later$/);
});

test('this host is one that is supported, and the report of Node is as it was', () => {
  const report = process.report as { excludeNetwork?: boolean };
  const before = report.excludeNetwork;
  expect(unsupportedHost()).toBeUndefined();
  expect(report.excludeNetwork).toBe(before);
});

describe('the message of an installed package', () => {
  const lib = compileLib('index');
  afterAll(() => {
    lib.remove();
  });

  /** What `native` says in a process whose properties were changed before. */
  function message(change: string): string {
    const program = `
      ${change}
      const { LLMDataDist, probeNative } = require(process.argv[1]);
      const { reason } = probeNative();
      try {
        new LLMDataDist(1, 1n, { backend: 'native' });
      } catch ({ message }) {
        console.log(message + '\\nreason: ' + reason);
      }
    `;
    const env = { PATH: process.env.PATH };
    return spawnSync(process.execPath, ['-e', program, lib.path], { encoding: 'utf8', env }).stdout;
  }

  test.each([
    ["Object.defineProperty(process, 'platform', { value: 'darwin' });", 'macOS is not supported'],
    ["Object.defineProperty(process, 'platform', { value: 'win32' });", 'Windows is not supported'],
    ["Object.defineProperty(process, 'arch', { value: 'riscv64' });", 'Linux on riscv64 is not supported'],
    ['process.report.getReport = () => ({ header: {} });', 'another C library than glibc (musl'],
    [
      "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.19.0' } });",
      'Node 18.19.0 is too old',
    ],
  ])('names what is not supported, and does not send the user to CANN: %s', (change, words) => {
    const text = message(change);
    expect(text).toContain(`The native backend cannot be loaded: `);
    expect(text.split(words)).toHaveLength(3);
    expect(text).toContain("Choose backend: 'mock' on this host.");
    expect(text).not.toMatch(/set_env\.sh|npm run/);
  });

  test.each([
    'process.report.getReport = () => { throw new Error("no report"); };',
    'Object.defineProperty(process, "report", { value: undefined });',
    'process.report.getReport = () => ({});',
  ])('claims nothing of a C library that it knows nothing of: %s', (change) => {
    const text = message(change);
    expect(text).toMatch(/: no such file: the package brings no addon for linux-\w+\n/);
    expect(text).toContain('set_env.sh');
    expect(text).not.toMatch(/not supported|npm run/);
  });
});

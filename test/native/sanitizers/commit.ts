import { spawnSync } from 'node:child_process';

// No test of the suite: scripts/test-sanitized.js runs it to see that the sanitizer speaks up, in the way the suite is run.

const { DATADIST_TEST_PLANTED: addon = '', DATADIST_TEST_FAULT: fault = '' } = process.env;

test(`commits ${fault} in this process`, () => {
  const { commit } = jest.requireActual<{ readonly commit: (name: string) => boolean }>(addon);
  expect(commit(fault)).toBe(true);
});

test(`commits ${fault} in another process`, () => {
  const program = 'require(process.argv[1]).commit(process.argv[2]) || process.exit(9)';
  expect(spawnSync(process.execPath, ['-e', program, addon, fault]).status).not.toBe(9);
});

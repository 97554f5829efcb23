'use strict';

// The rows that check-package prints.

class CheckError extends Error {}

const count = { passed: 0, failed: 0 };

/** Runs one check and prints its row; returns what the check returned, or undefined when it failed. */
function check(name, action) {
  try {
    const result = action();
    count.passed += 1;
    console.log(`ok    ${name}`);
    return result;
  } catch (error) {
    count.failed += 1;
    const reason = error instanceof CheckError ? error.message : error.stack;
    const lines = reason.split('\n').filter((line) => line.trim() !== '');
    console.log([`FAIL  ${name}`, ...lines.map((line) => `        ${line}`)].join('\n'));
    return undefined;
  }
}

/** @throws CheckError with these lines, when there are any */
function fail(problems) {
  if (problems.length > 0) throw new CheckError(problems.join('\n'));
}

module.exports = { CheckError, check, count, fail };

'use strict';

/** Says at the end of a run, after jest's own summary, which tests this host cannot run and why. */
class NotCheckedReporter {
  #options;

  constructor(_, options) {
    this.#options = options;
  }

  onRunComplete() {
    const { what, where, files, missing } = this.#options;
    const text =
      `\nNOT CHECKED on this host: ${what} (${files} test files in ${where}),\n` +
      'the coverage of lib/backend/native, and the tests that compile in test/native-addon, test/bench-native and\n' +
      'test/native-test-setup.\n' +
      `To check it, install ${missing.join(', and ')}.\n`;
    process.once('exit', () => process.stderr.write(text));
  }
}

module.exports = NotCheckedReporter;

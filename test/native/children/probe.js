'use strict';

// Asks probeNative() in a process that is as its first argument says, with the limit of its second one, and prints the report.

const fs = require('node:fs');

const CONDITIONS = {
  plain() {},
  // As in a process that has opened what it may.
  'no-descriptors'() {
    const opened = [];
    try {
      for (;;) opened.push(fs.openSync('/dev/null'));
    } catch (error) {
      if (error.code !== 'EMFILE') throw error;
    }
  },
  'few-descriptors'() {
    CONDITIONS['no-descriptors']();
    // Enough to look at files, not enough for a process and its pipes.
    for (let descriptor = 20; descriptor < 24; descriptor += 1) fs.closeSync(descriptor);
  },
  'no-node'() {
    process.execPath = '/nonexistent/node';
  },
  'not-executable'() {
    process.execPath = '/etc/passwd';
  },
  electron() {
    Object.defineProperty(process.versions, 'electron', { value: '31.0.0' });
    // Says whether it was started as Node, in the place of Electron.
    process.execPath = process.env.PRETENDED_ELECTRON;
  },
  'single-executable'() {
    process.execPath = process.env.PRETENDED_APPLICATION;
    const { getBuiltinModule } = process;
    process.getBuiltinModule = (name) => (name === 'node:sea' ? { isSea: () => true } : getBuiltinModule(name));
  },
  // Another packager: nothing says that this is no Node.
  application() {
    process.execPath = process.env.PRETENDED_APPLICATION;
  },
};

const { probeNative } = require(process.env.DATADIST_TEST_COMPILED);
const [condition, limit] = process.argv.slice(2);
CONDITIONS[condition]();
const report = probeNative(limit === undefined ? undefined : { limitMs: Number(limit) });
fs.writeSync(1, JSON.stringify(report));

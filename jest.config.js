'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { missingTools } = require('./scripts/native-tools');

const common = {
  coverageProvider: 'v8',
  testEnvironment: 'node',
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
        module: { type: 'commonjs' },
        sourceMaps: 'inline',
      },
    ],
  },
};

// Where the addon is given from outside nothing is built.
const missing = (process.env.LLM_DATADIST_ADDON ?? '') === '' ? missingTools() : [];
const isNativeChecked = missing.length === 0;

/** The tests of the shim, whose project is left out where it cannot be built. */
const nativeTests = path.join(__dirname, 'test', 'native');
const nativeFiles = fs
  .readdirSync(nativeTests, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.test.ts'));
const notChecked = {
  what: 'the addon over a stand-in of the library',
  where: 'test/native',
  files: nativeFiles.length,
  missing,
};

/** Of its own because jest sets a project up only when it runs tests of it. */
const native = {
  ...common,
  displayName: 'native',
  roots: ['<rootDir>/test/native'],
  testMatch: ['**/*.test.ts'],
  globalSetup: '<rootDir>/test/native/global-setup.ts',
};

/** @type {import('jest').Config} */
module.exports = {
  reporters: ['default', ...(isNativeChecked ? [] : [['<rootDir>/test/not-checked-reporter.js', notChecked]])],
  // A worker for each processor; jest would leave one of them idle.
  maxWorkers: '100%',
  // Tests wait for events; a machine that has much else to do may take long to bring them.
  testTimeout: 60_000,
  projects: [
    {
      ...common,
      displayName: 'package',
      roots: ['<rootDir>/test'],
      testMatch: ['**/*.test.ts'],
      testPathIgnorePatterns: ['<rootDir>/test/native/'],
    },
    ...(isNativeChecked ? [native] : []),
    // They import the package by its name, as a user's tests do.
    {
      ...common,
      displayName: 'examples',
      roots: ['<rootDir>/examples'],
      testMatch: ['**/*.test.ts'],
      moduleNameMapper: {
        '^llm-datadist$': '<rootDir>/lib/index.ts',
        '^llm-datadist/(testing|conformance|testing/jest)$': '<rootDir>/lib/$1',
      },
    },
  ],
  collectCoverageFrom: ['lib/**/*.ts', ...(isNativeChecked ? [] : ['!lib/backend/native/**'])],
  coverageProvider: 'v8',
  coverageThreshold: { global: { lines: 95, branches: 90 } },
};

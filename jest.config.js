'use strict';

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
const isNativeChecked = (process.env.LLM_DATADIST_ADDON ?? '') !== '' || missingTools().length === 0;

/** @type {import('jest').Config} */
module.exports = {
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
    // Of its own because jest sets a project up only when it runs tests of it.
    {
      ...common,
      displayName: 'native',
      roots: ['<rootDir>/test/native'],
      ...(isNativeChecked
        ? { testMatch: ['**/*.test.ts'], globalSetup: '<rootDir>/test/native/global-setup.ts' }
        : { testMatch: ['**/not-checked.ts'] }),
    },
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

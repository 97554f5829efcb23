'use strict';

const path = require('node:path');
const { projects } = require('../../../jest.config');

const native = projects.find(({ displayName }) => displayName === 'native');

/** @type {import('jest').Config} */
module.exports = { ...native, rootDir: path.resolve(__dirname, '../../..'), testMatch: ['**/sanitizers/commit.ts'] };

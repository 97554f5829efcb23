'use strict';

// Required by every Node of the leak run, through NODE_OPTIONS. The end of a worker is not the end of the process.
const { isMainThread } = require('node:worker_threads');

if (isMainThread) require(process.env.DATADIST_TEST_LEAK_CHECK);

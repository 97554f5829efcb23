'use strict';

// A host on which no process can be started any more: what spawnSync of Node returns then. The limit that does it
// (RLIMIT_NPROC) does not hold for root, whom tests run as in containers.

const child_process = require('node:child_process');

child_process.spawnSync = () => {
  const error = Object.assign(new Error('spawnSync node EAGAIN'), {
    code: 'EAGAIN',
    errno: -11,
    syscall: 'spawnSync node',
  });
  return { error, status: null, signal: null, output: null, pid: 0, stdout: null, stderr: null };
};

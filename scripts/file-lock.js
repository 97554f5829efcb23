'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

/**
 * Runs `work` while no other process that asks for the same lock does. The kernel gives the lock back when this process
 * ends, in whatever way.
 *
 * @param file is made when it is not there, and stays
 */
function withLock(file, work) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const lock = fs.openSync(file, 'a');
  try {
    // Node cannot lock a file; the program locks what its third descriptor shares with this process.
    const { status, error } = spawnSync('flock', ['3'], { stdio: ['ignore', 'inherit', 'inherit', lock] });
    if (status !== 0) throw new Error(`${file} cannot be locked: ${error?.message ?? `flock ended with ${status}`}`);
    return work();
  } finally {
    fs.closeSync(lock);
  }
}

module.exports = { withLock };

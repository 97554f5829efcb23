'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { withLock } = require('./file-lock');

const folder = path.resolve(__dirname, '../build/node');

class DownloadError extends Error {}

function run(command, args) {
  const { status, error, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new DownloadError(`${command} ${args.join(' ')} failed: ${error?.message ?? stderr}`);
}

/**
 * The program of a Node for Linux, from the npm package that Node's releases come as. It is downloaded once.
 *
 * @param major such as `22`
 * @param arch as in `process.arch`
 * @throws DownloadError
 */
function nodeBinary(major, arch) {
  const home = path.join(folder, `linux-${arch}-${major}`);
  const program = path.join(home, 'package', 'bin', 'node');
  return withLock(path.join(folder, 'lock'), () => {
    if (fs.existsSync(program)) return program;
    const unfinished = `${home}.unfinished`;
    fs.rmSync(unfinished, { recursive: true, force: true });
    fs.mkdirSync(unfinished, { recursive: true });
    run('npm', ['pack', '--silent', '--pack-destination', unfinished, `node-linux-${arch}@${major}`]);
    const [tarball] = fs.readdirSync(unfinished);
    run('tar', ['-xzf', path.join(unfinished, tarball), '-C', unfinished]);
    fs.rmSync(path.join(unfinished, tarball));
    fs.rmSync(home, { recursive: true, force: true });
    fs.renameSync(unfinished, home);
    return program;
  });
}

module.exports = { DownloadError, nodeBinary };

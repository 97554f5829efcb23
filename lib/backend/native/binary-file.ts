import { accessSync, closeSync, constants, fstatSync, openSync, readlinkSync, statSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { dirname } from 'node:path';
import { elfProblem } from './elf';
import { absolutePath } from './places';

const { O_RDONLY, O_NONBLOCK, R_OK, X_OK } = constants;

/** Why a file cannot be loaded. */
export interface FileProblem {
  readonly text: string;
  /**
   * - `missing`: nothing is there
   * - `passed-over`: the loader takes it for missing when it looks through folders, and goes on
   * - `unusable`: the loader stops at it, and may wait for ever or end the process
   */
  readonly kind: 'missing' | 'passed-over' | 'unusable';
}

/**
 * Why the file cannot be loaded into this process, as far as that can be known before the loader is asked. The loader
 * waits for ever at a FIFO, does not survive a file that was cut off, and says of most other things "cannot open".
 *
 * Takes bounded time and does not throw, whatever is at the path.
 */
export function fileProblem(path: string): FileProblem | undefined {
  try {
    // Before it is opened: a device may do something then.
    return kindProblem(statSync(path)) ?? contentProblem(path);
  } catch (error) {
    return accessProblem(path, error as NodeJS.ErrnoException);
  }
}

function contentProblem(path: string): FileProblem | undefined {
  // It may have become a FIFO since, which would keep the process waiting.
  const file = openSync(path, O_RDONLY | O_NONBLOCK);
  try {
    const stats = fstatSync(file);
    return kindProblem(stats) ?? elfProblem(file, stats.size);
  } finally {
    closeSync(file);
  }
}

function kindProblem(stats: Stats): FileProblem | undefined {
  if (!stats.isFile()) return unusable(`it is ${kindOf(stats)}, not a regular file`);
  return stats.size === 0 ? unusable('the file is empty') : undefined;
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'a folder';
  if (stats.isFIFO()) return 'a FIFO (named pipe)';
  if (stats.isSocket()) return 'a socket';
  return stats.isCharacterDevice() ? 'a character device' : 'a block device';
}

function accessProblem(path: string, error: NodeJS.ErrnoException): FileProblem {
  switch (error.code) {
    case 'ENOENT':
      return missing(linkTarget(path));
    case 'ENOTDIR':
      return { kind: 'missing', text: 'no such file: a part of its path is not a folder' };
    case 'ELOOP':
      return { kind: 'passed-over', text: 'its symbolic links form a loop' };
    case 'EACCES':
      return { kind: 'passed-over', text: permissionProblem(path) };
    default:
      return unusable(error.message);
  }
}

function missing(target: string | undefined): FileProblem {
  if (target === undefined) return { kind: 'missing', text: 'no such file' };
  return {
    kind: 'passed-over',
    text: `no such file: it is a symbolic link to ${target}, which does not lead to a file`,
  };
}

function unusable(text: string): FileProblem {
  return { kind: 'unusable', text };
}

/** The first part of the path that this user may not use, since it is seldom the file itself. */
function permissionProblem(path: string): string {
  for (const folder of foldersAbove(absolutePath(path))) {
    if (!may(folder, X_OK)) return `permission denied: ${thisUser()} may not enter ${described(folder)}`;
  }
  if (!may(path, R_OK)) return `permission denied: ${thisUser()} may not read ${described(path)}`;
  return `permission denied: ${thisUser()} may not read it`;
}

/** From the root downwards. */
function foldersAbove(path: string): string[] {
  const folder = dirname(path);
  return folder === path ? [] : [...foldersAbove(folder), folder];
}

function may(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'EACCES';
  }
}

function thisUser(): string {
  const { geteuid, getegid, getgroups } = process;
  if (geteuid === undefined || getegid === undefined || getgroups === undefined) return 'this process';
  const groups = [...new Set([getegid(), ...getgroups()])].sort((a, b) => a - b);
  return `user ${geteuid()} (groups ${groups.join(', ')})`;
}

function described(path: string): string {
  try {
    const { mode, uid, gid } = statSync(path);
    return `${path} (mode ${(mode & 0o7777).toString(8).padStart(3, '0')}, owner ${uid}, group ${gid})`;
  } catch {
    // Where a link leads cannot always be seen.
    const target = linkTarget(path);
    return target === undefined ? path : `${path}, a symbolic link to ${target}`;
  }
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    // It is no link.
    return undefined;
  }
}

import { closeSync, constants, fstatSync, openSync, readFileSync, realpathSync } from 'node:fs';
import { OptionError, quote } from './option-error';

const MAX_BYTES = 1_048_576;

/**
 * Reads the file that `local_comm_res_path` names: 1 byte to 1 MiB of UTF-8. Read at once, as the library does during
 * Initialize; the size limit keeps that short, and a pipe is not waited for.
 * @throws OptionError
 */
export function readLocalCommResFile(path: string): string {
  try {
    const file = openSync(realpathSync.native(path), constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    try {
      return readRegularFile(file);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw new OptionError(`local_comm_res_path ${quote(path)} cannot be used: ${(error as Error).message}.`);
  }
}

function readRegularFile(file: number): string {
  const stat = fstatSync(file);
  if (!stat.isFile()) throw new Error('it is no regular file');
  if (stat.size === 0 || stat.size > MAX_BYTES) {
    throw new Error(`it has ${stat.size} bytes, not 1 to ${MAX_BYTES}`);
  }
  // A byte order mark is for the JSON reader to skip.
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(readFileSync(file));
}

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Unavailable } from '../unavailable';

const COMMON_FLAGS = ['-std=c++17', '-O2', '-fPIC', '-shared', '-fvisibility=hidden', '-Wall', '-Wextra', '-Werror'];

/** The compiler with its arguments. */
function compiler(): readonly string[] {
  return (process.env.CXX ?? 'g++').trim().split(/\s+/);
}

/** @throws Unavailable */
export function requireCompiler(): void {
  const [program = '', ...args] = compiler();
  const { error } = spawnSync(program, [...args, '--version'], { stdio: 'ignore' });
  if (error === undefined) return;
  throw new Unavailable(
    `there is no C++ compiler, ${program} cannot be run (on Debian or Ubuntu: apt-get install g++)`,
  );
}

/**
 * Makes a shared object, unless the present one was made of the same.
 * @param args the compiler's, besides the usual ones
 * @param files that it is made of
 * @throws Error in the compiler's words
 */
export function compile(output: string, args: readonly string[], files: readonly string[]): void {
  const [program = '', ...first] = compiler();
  const all = [...first, ...COMMON_FLAGS, ...args];
  const stamp = `${output}.stamp`;
  const wanted = fingerprint([program, ...all], files);
  if (existsSync(output) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  mkdirSync(dirname(output), { recursive: true });
  // Gets its name when it is complete: another process may be about to load it.
  const unfinished = `${output}.${process.pid}`;
  const { status, error, stderr } = spawnSync(program, [...all, '-o', unfinished], { encoding: 'utf8' });
  if (status !== 0) {
    rmSync(unfinished, { force: true });
    throw new Error(`${program} could not make ${output}: ${error?.message ?? stderr}`);
  }
  renameSync(unfinished, output);
  writeFileSync(stamp, wanted);
}

function fingerprint(words: readonly string[], files: readonly string[]): string {
  const hash = createHash('sha256').update(JSON.stringify(words));
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(file));
  return hash.digest('hex');
}

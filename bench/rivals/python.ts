import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { StandInBuild } from '../../test/native/standin/build';
import type { Contestant } from '../rounds';
import { inPackage } from '../sources';
import { Unavailable } from '../unavailable';
import { compile } from './compiler';

/** Where the interpreter is, and the header that stands for pybind11. */
export interface PythonPlaces {
  readonly python: string;
  readonly pybind11: string;
}

/** Debian's, for which its packages have the headers; another one on the PATH may be of another version. */
const DEBIAN: PythonPlaces = { python: '/usr/bin/python3', pybind11: '/usr/include/pybind11/pybind11.h' };
const PACKAGES = 'python3-dev and pybind11-dev (on Debian or Ubuntu: apt-get install python3-dev pybind11-dev)';

const SOURCES = ['bench', 'rivals', 'pybind11'];

/** How Python makes its calls: see drive.py. */
export type PythonMode = 'serial' | 'in-flight' | 'blocking';

/** The stand-in in a Python of its own, through a pybind11 module. */
export class PythonRival {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;
  readonly #ended: Promise<unknown>;
  #stderr = '';

  /** @throws Unavailable where there is no Python or no pybind11 */
  constructor(standIn: StandInBuild, places = DEBIAN) {
    const folder = buildModule(standIn, places);
    this.#process = spawn(places.python, [inPackage(...SOURCES, 'drive.py'), folder, standIn.runtime]);
    this.#process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    this.#ended = once(this.#process, 'close');
    // That it has ended shows in its answers.
    this.#process.stdin.on('error', () => undefined);
    this.#answers = createInterface(this.#process.stdout)[Symbol.asyncIterator]();
  }

  /** Pulls of so many block pairs. */
  pulling(mode: PythonMode, pairs: number): Contestant {
    return async (operations) => {
      this.#process.stdin.write(`${mode} ${pairs} ${operations}\n`);
      const answer = await this.#answers.next();
      if (answer.done !== true) return Number(answer.value);
      await this.#ended;
      throw new Error(`Python ended before it had an answer: ${this.#stderr}`);
    };
  }

  async close(): Promise<void> {
    this.#process.stdin.end();
    await this.#ended;
  }
}

/** @returns the folder that the module is in */
function buildModule({ library, runtime, libraryFolder }: StandInBuild, places: PythonPlaces): string {
  const { include, suffix } = describePython(places);
  const folder = inPackage('build', 'rivals');
  const source = inPackage(...SOURCES, 'datadist_rival.cc');
  const headers = ['acl.h', 'llm_datadist.h'].map((name) => inPackage('native', 'abi', name));
  compile(
    join(folder, `datadist_rival${suffix}`),
    [`-I${inPackage()}`, '-isystem', include, source, library, runtime, `-Wl,-rpath,${libraryFolder}`],
    [source, ...headers],
  );
  return folder;
}

/** Where the headers of Python are, and how the names of its modules end. */
function describePython({ python, pybind11 }: PythonPlaces): { readonly include: string; readonly suffix: string } {
  const program = 'import sysconfig as s; print(s.get_path("include"), s.get_config_var("EXT_SUFFIX"), sep="\\n")';
  const { status, error, stdout, stderr } = spawnSync(python, ['-c', program], { encoding: 'utf8' });
  if (status !== 0) {
    throw new Unavailable(`${python} cannot be run (${error?.message ?? stderr.trim()}): install ${PACKAGES}`);
  }
  const [include = '', suffix = ''] = stdout.split('\n');
  const missing = [join(include, 'Python.h'), pybind11].find((path) => !existsSync(path));
  if (missing !== undefined) throw new Unavailable(`there is no ${missing}: install ${PACKAGES}`);
  return { include, suffix };
}

import { spawnSync } from 'node:child_process';
import type { OpenedLibrary } from './addon';
import type { LibrarySearch } from './library';

/** Prints what the addon says on a pipe that the vendor's logs do not go to. */
const PROGRAM = `
  const [addon, search, bridge] = process.argv.slice(1);
  const { libraries, runtimes } = JSON.parse(search);
  const opened = require(addon).openLibrary(libraries, runtimes, bridge);
  require('node:fs').writeSync(3, JSON.stringify(opened));
`;

/**
 * Set in the other process: where it is not Node that was started but a program that asks in its turn, it must not start
 * another one.
 */
const MARK = 'LLMDATADIST_PROBE';

/** What libraries print must not end them; nor must it fill the memory. */
const MAX_PRINTED_BYTES = 16 * 2 ** 20;
/** What a report quotes of it. */
const MAX_QUOTED = 2000;

/** Parts of Node that its types know as always there, or not at all. */
interface NodeOfToday {
  readonly permission?: { has(scope: string): boolean };
  getBuiltinModule?(name: string): { isSea?(): boolean } | undefined;
}

/** Why this process cannot start another one that runs Node; `undefined` where it may try. */
export function otherProcessProblem(): string | undefined {
  const node = process as NodeOfToday;
  if (process.env[MARK] !== undefined) {
    return 'this process was started by probeNative() itself, so its program is not Node, and starts no other one';
  }
  if (node.permission?.has('child') === false) {
    return 'a library is opened in another process, and the permission model of Node allows this one to start none (--allow-child-process)';
  }
  if (node.getBuiltinModule?.('node:sea')?.isSea?.() === true) {
    return 'a library is opened in another process, and a single-executable application would start itself again in place of Node';
  }
  return undefined;
}

/** What the addon says in a separate process, or how that process ended. */
export function openElsewhere(
  addonPath: string,
  search: LibrarySearch,
  bridge: string,
  limitMs: number,
): OpenedLibrary | { readonly problem: string } {
  try {
    return answerOf(start([addonPath, JSON.stringify(search), bridge], limitMs), limitMs);
  } catch (error) {
    return { problem: `the process that is to open the library cannot be started: ${(error as Error).message}` };
  }
}

/** How the other process ended. Where it could not be started there is no output. */
interface End {
  readonly error?: NodeJS.ErrnoException | undefined;
  readonly signal: NodeJS.Signals | null;
  readonly status: number | null;
  readonly output: readonly (string | null | undefined)[] | null;
}

function start(args: readonly string[], limitMs: number): End {
  const { electron } = process.versions;
  return spawnSync(process.execPath, ['-e', PROGRAM, ...args], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      // Flags of this process, such as a debugger's port, are not meant for the other one.
      NODE_OPTIONS: '',
      [MARK]: '1',
      ...(electron !== undefined && { ELECTRON_RUN_AS_NODE: '1' }),
    },
    timeout: limitMs,
    // A library may ignore all others, or never come to act on them.
    killSignal: 'SIGKILL',
    maxBuffer: MAX_PRINTED_BYTES,
    encoding: 'utf8',
  });
}

function answerOf({ error, signal, status, output }: End, limitMs: number): OpenedLibrary | { problem: string } {
  const [, , stderr, answer] = output ?? [];
  const opened = parsed(answer ?? '');
  // What the process did afterwards does not matter.
  if (opened !== undefined) return opened;
  const printed = (stderr ?? '').slice(-MAX_QUOTED);
  if (output === null || (status === null && signal === null)) {
    const why = error?.message ?? 'for no reason that is known';
    return { problem: `the process that is to open the library cannot be started: ${why}` };
  }
  const how =
    error?.code === 'ETIMEDOUT'
      ? `took longer than ${limitMs} ms and was killed`
      : `ended with ${signal === null ? `exit code ${status}` : `signal ${signal}`}`;
  return { problem: `the process that tried to open the library ${how}. ${printed}` };
}

/** The whole answer; `undefined` where the process ended before it had given it. */
function parsed(text: string): OpenedLibrary | undefined {
  try {
    return JSON.parse(text) as OpenedLibrary;
  } catch {
    return undefined;
  }
}

import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { mockFabric } from '../../backend/mock-fabric';
import type { ChildHostOptions } from '../../conformance/child-host';
import { packedScenarios } from '../../conformance/shipped-scenarios';

/** Where the instances of a scenario live. `none`: in this process. */
export type Processes = ChildHostOptions['processes'] | 'none';

/** What the command line asks for. */
export interface ConformanceOptions {
  /** `mock`, `mock-tcp`, `native` or the path of a module. */
  readonly backend: string;
  readonly processes: Processes;
  /** Scenarios at the same time. */
  readonly jobs: number;
  readonly limitMs: number;
  /** Files and folders. */
  readonly paths: readonly string[];
  readonly selection: Selection;
  readonly guards: boolean;
}

/** Which scenarios are meant. */
export interface Selection {
  /** With one of these tags; none: with any or no tag. */
  readonly tags: readonly string[];
  /** With none of these tags. */
  readonly notTags: readonly string[];
  /** With one of these texts in the name; none: with any name. */
  readonly names: readonly string[];
}

/** A command line that makes no sense; the message says why. */
export class UsageError extends Error {}

export const USAGE = `usage: npm run conformance -- [--backend mock|mock-tcp|native|FILE] [--dir DIR]... [--jsonl FILE]... [options]

Makes the calls of recorded scenarios and compares what comes of them with what the vendor's library did.

  --backend mock|mock-tcp|native|FILE
                         what does the work, default mock; mock-tcp are mock instances that find each
                         other over TCP, as mock is with LLM_DATADIST_MOCK_FABRIC=tcp; FILE is a module (.js, .cjs or .mjs) that exports a function
                         (clusterId, role) => Backend
  --dir DIR              the *.json files of a folder, or scenarios/*.json and random.jsonl where it has them
  --jsonl FILE           scenarios of a file, one per line
                         without --dir and --jsonl: the recordings in test/conformance/recordings, or what
                         the package brings along
  --tag TAG              only scenarios that have the tag (may be repeated: one of the tags)
  --not-tag TAG          only scenarios that do not have the tag (may be repeated: none of the tags)
  --name TEXT            only scenarios with the text in their name (may be repeated: one of the texts)
  --processes none|scenario|node
                         where the instances live: all in this process, or each scenario, or each node of each scenario,
                         in a separate process. Default: none for mock, node for mock-tcp, scenario for a module; for
                         native scenario, but node for scenarios with the tag per-node
  --limit SECONDS        how long a process may take, default 60
  --jobs N               scenarios at the same time when they have processes; default: the number of cores
  --guards               instead: print which recorded calls the package's guards refuse
  --help                 print this

Prints one line per difference, and at the end "N passed, N failed" (scenarios). A process that crashes, ends with another
exit code than 0 or exceeds the limit is a difference. What the processes of a scenario that failed have printed last
goes to standard error.
Exit code: 0 all passed, 1 some failed or are malformed, 2 wrong usage, no backend or nothing to run.`;

const RECORDINGS = join(__dirname, '..', '..', '..', 'test', 'conformance', 'recordings');

const MAX_JOBS = 1024;

/** Ten days; timers take no more than 24.8. */
const MAX_LIMIT_MS = 864_000_000;

/**
 * @returns `undefined` when the help is asked for
 * @throws UsageError
 */
export function parseOptions(argv: readonly string[]): ConformanceOptions | undefined {
  const { help, guards, dir, jsonl, tag, name, processes, limit, jobs, 'not-tag': notTag, ...chosen } = parse(argv);
  if (help) return undefined;
  checkBackend(chosen.backend);
  const backend = onFabric(chosen.backend);
  const where = guards ? 'none' : chosenProcesses(backend, processes);
  const [useless] = where === 'none' ? given({ ...(guards && { processes }), limit, jobs }) : [];
  if (useless !== undefined) {
    const why = guards ? 'with --guards' : 'without processes (see --processes)';
    throw new UsageError(`--${useless} has no meaning ${why}: everything runs in this process, one after the other`);
  }
  return {
    backend,
    processes: where,
    jobs: where === 'none' ? 1 : checkJobs(jobs),
    limitMs: checkLimit(limit),
    paths: checkPaths([...dir, ...jsonl]),
    selection: { tags: tag, notTags: notTag, names: name },
    guards,
  };
}

function parse(argv: readonly string[]) {
  const texts = { type: 'string', multiple: true, default: [] as string[] } as const;
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        backend: { type: 'string', default: 'mock' },
        dir: texts,
        jsonl: texts,
        tag: texts,
        'not-tag': texts,
        name: texts,
        processes: { type: 'string' },
        limit: { type: 'string' },
        jobs: { type: 'string' },
        guards: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    return values;
  } catch (error) {
    // Everything that parseArgs throws is about the arguments.
    throw new UsageError((error as Error).message);
  }
}

function checkBackend(backend: string): void {
  if (backend === 'mock' || backend === 'mock-tcp' || backend === 'native') return;
  if (!/\.[cm]?js$/.test(backend)) {
    throw new UsageError(
      `unknown backend "${backend}"; there are mock, mock-tcp and native, and modules (.js, .cjs, .mjs)`,
    );
  }
  if (!existsSync(backend)) throw new UsageError(`--backend ${backend}: there is no such file`);
}

/** Mock instances find each other where the environment says, as those of a program do. */
function onFabric(backend: string): string {
  if (backend !== 'mock') return backend;
  try {
    return mockFabric().name === 'tcp' ? 'mock-tcp' : 'mock';
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function chosenProcesses(backend: string, chosen: string | undefined): Processes {
  switch (chosen) {
    case undefined:
      if (backend === 'mock') return 'none';
      if (backend === 'mock-tcp') return 'node';
      return backend === 'native' ? 'tagged' : 'scenario';
    case 'node':
      if (backend !== 'mock') return chosen;
      throw new UsageError(
        '--processes node: mock instances of different processes find each other with --backend mock-tcp',
      );
    case 'none':
    case 'scenario':
      return chosen;
    default:
      throw new UsageError(`--processes ${chosen}: neither none nor scenario nor node`);
  }
}

function given(options: Readonly<Record<string, string | undefined>>): string[] {
  return Object.keys(options).filter((name) => options[name] !== undefined);
}

function checkJobs(text: string | undefined): number {
  if (text === undefined) return availableParallelism();
  const jobs = Number(text);
  if (/^\d+$/.test(text) && jobs >= 1 && jobs <= MAX_JOBS) return jobs;
  throw new UsageError(`--jobs ${text}: not a whole number from 1 to ${MAX_JOBS}`);
}

function checkLimit(text = '60'): number {
  const limitMs = Math.round(Number(text) * 1000);
  if (/^\d+(\.\d+)?$/.test(text) && limitMs >= 1 && limitMs <= MAX_LIMIT_MS) return limitMs;
  throw new UsageError(`--limit ${text}: not a number of seconds from 0.001 to ${MAX_LIMIT_MS / 1000}`);
}

function checkPaths(paths: readonly string[]): readonly string[] {
  if (paths.length > 0) return paths;
  for (const path of [RECORDINGS, packedScenarios(join(__dirname, '..', '..'))]) if (existsSync(path)) return [path];
  throw new UsageError(`there are no recordings in ${RECORDINGS}: name some with --dir or --jsonl`);
}

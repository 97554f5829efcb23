import { lstatSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { shortList } from '../../short-list';
import type { Environment } from '../environment';

/** Something that only Ascend hosts have, as it was seen on this one. */
export interface AscendSign {
  readonly id: 'device-nodes' | 'cann-folders' | 'environment' | 'npu-smi';
  /** What was seen, for a message. */
  readonly text: string;
}

/** How to look at a host. Nothing here throws: what cannot be looked at is not there. */
export interface HostView {
  readonly env: Environment;
  /** Names in a folder; none where it cannot be read. */
  readonly list: (folder: string) => readonly string[];
  /** Whether something is at the path, readable or not. */
  readonly has: (path: string) => boolean;
}

interface SignRule {
  readonly id: AscendSign['id'];
  /** Says what the finds are. */
  readonly text: string;
  /** What there is to see; nothing where the host does not have the sign. */
  readonly look: (host: HostView) => readonly string[];
}

/** Of the driver: one per NPU, and those that all share. */
const DEVICE_NODE = /^(davinci\d+|davinci_manager|devmm_svm|hisi_hdc)$/;

/** Where the vendor's installers put things: for all users, and for one. */
const FOLDERS = ['/usr/local/Ascend', '/etc/ascend_install.info'];
const FOLDERS_OF_A_USER = ['Ascend/cann', 'Ascend/ascend-toolkit', 'Ascend/latest'];

/** What messages name; a host may have hundreds. */
const MAX_NAMED = 4;

const RULES: readonly SignRule[] = [
  {
    id: 'device-nodes',
    text: 'device nodes of NPUs',
    look: ({ list }) => {
      const names = list('/dev').filter((name) => DEVICE_NODE.test(name));
      return names.sort().map((name) => `/dev/${name}`);
    },
  },
  {
    id: 'cann-folders',
    text: 'files of a CANN or driver installation',
    look: ({ env: { HOME: home = '' }, has }) => {
      const own = home === '' ? [] : FOLDERS_OF_A_USER.map((folder) => join(home, folder));
      return [...FOLDERS, ...own].filter((path) => has(path));
    },
  },
  {
    id: 'environment',
    text: 'variables of the environment',
    look: ({ env }) => {
      const names = Object.keys(env).filter((name) => name.startsWith('ASCEND_') && env[name] !== '');
      return names.sort();
    },
  },
  {
    id: 'npu-smi',
    text: 'the tool for NPUs',
    look: ({ env: { PATH: path = '' }, has }) => {
      const programs = path.split(delimiter).map((folder) => join(folder, 'npu-smi'));
      return programs.filter((program) => has(program)).slice(0, 1);
    },
  },
];

/** Signs that this is an Ascend host, where the mock in place of the library would be a mistake. Cheap, and never throws. */
export function ascendSigns(host: HostView = thisHost()): readonly AscendSign[] {
  return RULES.flatMap(({ id, text, look }) => {
    const seen = look(host);
    if (seen.length === 0) return [];
    return [{ id, text: `${text}: ${shortList(seen, MAX_NAMED).join(', ')}` }];
  });
}

function thisHost(): HostView {
  return { env: process.env, list, has };
}

function list(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    // It is not there, or may not be read: no sign of anything.
    return [];
  }
}

function has(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    // A folder on the way to it may not be entered.
    return false;
  }
}

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { ScenarioError } from './fields';
import type { Scenario } from './scenario';
import { parseScenario } from './scenario';

/** A scenario, or why there is none where one was expected. */
export type ReadScenario = Scenario | ScenarioError;

/**
 * The scenarios of files and folders: a `.jsonl` file has one per line, a `.jsonl.gz` file too, any other file is one. Of a folder its `.json`
 * files are read by name, or where it is laid out as the recordings are, `scenarios/*.json` and `random.jsonl`. A file that is
 * reached twice is read once.
 *
 * @throws ScenarioError for the first scenario that is malformed, and for a path that cannot be read
 */
export function loadScenarios(...paths: readonly string[]): Scenario[] {
  return readScenarios(...paths).map((scenario) => {
    if (scenario instanceof ScenarioError) throw scenario;
    return scenario;
  });
}

/**
 * The same as {@link loadScenarios}, with the errors of malformed scenarios in their places.
 * @throws ScenarioError for a path that cannot be read
 */
export function readScenarios(...paths: readonly string[]): ReadScenario[] {
  const files = new Map(paths.flatMap(filesOf).map((file) => [resolve(file), file]));
  return [...files.values()].flatMap(readFile);
}

function filesOf(path: string): string[] {
  if (!isFolder(path)) return [path];
  const names = namesIn(path);
  if (names.includes('scenarios') && isFolder(join(path, 'scenarios'))) {
    const lists = names.filter((name) => name === 'random.jsonl').map((name) => join(path, name));
    return [...jsonFilesIn(join(path, 'scenarios')), ...lists];
  }
  return jsonFilesIn(path);
}

function jsonFilesIn(folder: string): string[] {
  return namesIn(folder)
    .filter((name) => name.endsWith('.json'))
    .map((name) => join(folder, name));
}

function readFile(path: string): ReadScenario[] {
  const content = readable(path, () => contentOf(path));
  if (!/\.jsonl(\.gz)?$/.test(path)) return [readOne(content, path)];
  return content.split('\n').flatMap((line, i) => (line.trim() === '' ? [] : [readOne(line, `${path}:${i + 1}`)]));
}

function contentOf(path: string): string {
  const bytes = readFileSync(path);
  return (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
}

function readOne(json: string, place: string): ReadScenario {
  try {
    return parseScenario(parseJson(json, place), place);
  } catch (error) {
    if (error instanceof ScenarioError) return error;
    throw error;
  }
}

function parseJson(json: string, place: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new ScenarioError(place, `not JSON: ${(cause as SyntaxError).message}`, { cause });
  }
}

function isFolder(path: string): boolean {
  return readable(path, () => statSync(path)).isDirectory();
}

function namesIn(folder: string): string[] {
  return readable(folder, () => readdirSync(folder)).sort();
}

function readable<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new ScenarioError(path, `cannot be read: ${(cause as Error).message}`, { cause });
  }
}

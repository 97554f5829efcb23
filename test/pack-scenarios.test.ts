import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { loadScenarios, shippedScenarios } from '../lib/conformance';
import { PLAIN_ENVIRONMENT, temporaryFolder } from './fixtures/package-copy';

const SCRIPT = path.join(__dirname, '..', 'scripts', 'pack-scenarios.js');

/** A package with the scenarios of this one. */
function packageFolder(): string {
  const folder = temporaryFolder();
  fs.mkdirSync(path.join(folder, 'test'));
  fs.symlinkSync(path.join(__dirname, 'conformance'), path.join(folder, 'test', 'conformance'));
  return folder;
}

const pack = (folder: string) =>
  spawnSync(process.execPath, [SCRIPT, folder], { encoding: 'utf8', env: PLAIN_ENVIRONMENT });

test('the packed scenarios are those of the checkout, in the same order', () => {
  const folder = packageFolder();
  const target = path.join(folder, 'dist', 'conformance', 'scenarios.jsonl.gz');
  fs.mkdirSync(path.dirname(target), { recursive: true });
  expect(pack(folder)).toMatchObject({ status: 0, stdout: '', stderr: '' });
  const withoutPlaces = (scenarios: Iterable<object>) => [...scenarios].map((each) => ({ ...each, place: '' }));
  expect(withoutPlaces(loadScenarios(target))).toEqual(withoutPlaces(shippedScenarios()));
});

test('a package that was not built is an error', () => {
  const { status, stderr } = pack(packageFolder());
  expect(status).toBe(1);
  expect(stderr).toMatch(/^pack-scenarios: ENOENT.*scenarios\.jsonl\.gz/);
});

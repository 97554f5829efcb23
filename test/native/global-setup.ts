import { spawnSync } from 'node:child_process';
import { join, relative, resolve } from 'node:path';
import { buildStandIn } from './standin/build';

const ROOT = resolve(__dirname, '../..');

/**
 * Builds what the tests of this folder run over, once per run of jest, as far as sources are newer. Jobs that bring builds
 * of their own name the addon in `LLM_DATADIST_ADDON`.
 */
export default function globalSetup(): void {
  const { LLM_DATADIST_ADDON: chosen = '' } = process.env;
  if (chosen !== '') return;
  const start = process.hrtime.bigint();
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [join(ROOT, 'scripts', 'build-native.js')], {
    encoding: 'utf8',
  });
  if (status !== 0) {
    throw new Error(`the addon that test/native is about cannot be built:\n${stdout}${stderr}${error?.message ?? ''}`);
  }
  const { outDir } = buildStandIn();
  const seconds = Number((process.hrtime.bigint() - start) / 100_000_000n) / 10;
  process.stderr.write(
    `test/native: the addon is in build/Release, the stand-in in ${relative(ROOT, outDir)} (${seconds} s)\n`,
  );
}

import { checkInteger } from '../../check';

const DEFAULT_CLOSE_LIMIT_MS = 5000;

/**
 * How long the end of the process or of a worker waits for calls that are inside the library, in milliseconds:
 * `LLM_DATADIST_EXIT_TIMEOUT`, default 5000. What has not come back by then is left behind.
 */
export function closeLimitMs(): number {
  const { LLM_DATADIST_EXIT_TIMEOUT: text = '' } = process.env;
  if (text === '') return DEFAULT_CLOSE_LIMIT_MS;
  return checkInteger(Number(text), 'LLM_DATADIST_EXIT_TIMEOUT', 0, 0x7fff_ffff);
}

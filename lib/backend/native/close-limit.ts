import { exitTimeoutMs } from '../environment';

const DEFAULT_CLOSE_LIMIT_MS = 5000;

/**
 * How long the end of the process or of a worker waits for calls that are inside the library, in milliseconds:
 * `LLM_DATADIST_EXIT_TIMEOUT`, default 5000. What has not come back by then is left behind.
 */
export function closeLimitMs(): number {
  return exitTimeoutMs() ?? DEFAULT_CLOSE_LIMIT_MS;
}

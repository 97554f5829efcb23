import { LLMException } from './exception';
import { LLMStatusCode } from './status';

/**
 * Makes a call that not every release of the library implements: one that does not answers `LLM_FEATURE_NOT_ENABLED`, and the
 * package does the work then.
 */
export async function unlessLibraryDoes<T>(library: () => Promise<T>, own: () => Promise<T>): Promise<T> {
  try {
    return await library();
  } catch (error) {
    if (!(error instanceof LLMException) || error.statusCode !== LLMStatusCode.LLM_FEATURE_NOT_ENABLED) throw error;
  }
  return await own();
}

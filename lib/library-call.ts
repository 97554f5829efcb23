import { LLMException } from './exception';
import { LLMStatusCode } from './status';

/**
 * Makes a call that not every release of the library implements: one that does not answers `LLM_FEATURE_NOT_ENABLED`, and the
 * package does the work then.
 * @param refusal another status that says the same, for a request that is known to be right
 */
export async function unlessLibraryDoes<T>(
  library: () => Promise<T>,
  own: () => Promise<T>,
  refusal: number = LLMStatusCode.LLM_FEATURE_NOT_ENABLED,
): Promise<T> {
  try {
    return await library();
  } catch (error) {
    const status = error instanceof LLMException ? error.statusCode : undefined;
    if (status === undefined || (status !== LLMStatusCode.LLM_FEATURE_NOT_ENABLED && status !== refusal)) throw error;
  }
  return await own();
}

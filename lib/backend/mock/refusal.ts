import type { LLMExceptionInfo } from '../../exception';
import { LLMStatusCode } from '../../status';

/** What to do, where more can be said than the status alone says. */
type Advice = Pick<LLMExceptionInfo, 'remedy' | 'recovery'>;

/** A status on its way out of the mock: what the library would return, and why, in words. */
export class Refusal extends Error {
  constructor(
    readonly statusCode: number,
    readonly detail: string,
    readonly advice: Advice = {},
  ) {
    super(detail);
  }
}

export const invalid = (detail: string): Refusal => new Refusal(LLMStatusCode.LLM_PARAM_INVALID, detail);
export const failed = (detail: string, advice?: Advice): Refusal =>
  new Refusal(LLMStatusCode.LLM_FAILED, detail, advice);

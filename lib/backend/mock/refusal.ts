import { LLMStatusCode } from '../../status';

/** A status on its way out of the mock: what the library would return, and why, in words. */
export class Refusal extends Error {
  constructor(
    readonly statusCode: number,
    readonly detail: string,
  ) {
    super(detail);
  }
}

export const invalid = (detail: string): Refusal => new Refusal(LLMStatusCode.LLM_PARAM_INVALID, detail);
export const failed = (detail: string): Refusal => new Refusal(LLMStatusCode.LLM_FAILED, detail);

import type { LLMExceptionInfo } from '../../exception';
import { recognizeCopies } from '../../brand';
import { LLMStatusCode } from '../../status';
import type { Connection } from './network';

/** What to do, where more can be said than the status alone says. */
type Advice = Pick<LLMExceptionInfo, 'remedy' | 'recovery'>;

/** A status on its way out of the mock: what the library would return, and why, in words. */
export class Refusal extends Error {
  static {
    // The two ends of a link may be made by two copies of the package.
    recognizeCopies(this, 'Refusal', { statusCode: 'number', detail: 'string' });
  }

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

/** What to say of an address where no instance answers. */
export function refusedBy(text: string, connection: Connection): string {
  return connection.kind === 'refused' && connection.elsewhere !== undefined
    ? `${text}; ${connection.elsewhere}`
    : text;
}

/**
 * An option text that the library refuses with `LLM_PARAM_INVALID`.
 *
 * `rule` is one sentence: which option, which value, what is wanted instead.
 */
export class OptionError extends Error {
  override readonly name = 'OptionError';

  constructor(readonly rule: string) {
    super(rule);
  }
}

/** The rule that `check` finds broken, or `undefined`. Anything but an {@link OptionError} is thrown on. */
export function brokenRule(check: () => void): string | undefined {
  try {
    check();
  } catch (error) {
    if (error instanceof OptionError) return error.rule;
    throw error;
  }
  return undefined;
}

const LONGEST_QUOTE = 120;

/** A value as it appears in a rule: quoted, control characters made visible, cut when long. */
export function quote(text: string): string {
  return text.length <= LONGEST_QUOTE ? JSON.stringify(text) : `${JSON.stringify(text.slice(0, LONGEST_QUOTE))}…`;
}

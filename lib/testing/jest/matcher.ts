/** What jest gives a matcher as `this`, as far as it is used here. */
export interface MatcherState {
  readonly isNot?: boolean | undefined;
}

/** What a matcher gives back. */
export interface MatcherResult {
  readonly pass: boolean;
  readonly message: () => string;
}

/** The result with its message: how the call looks, and what was there. */
export function result(state: MatcherState, pass: boolean, call: string, lines: readonly string[]): MatcherResult {
  const [received, matcher] = call.split('.');
  const text = [`expect(${received ?? ''})${state.isNot === true ? '.not' : ''}.${matcher ?? ''}`, '', ...lines];
  return { pass, message: () => text.join('\n') };
}

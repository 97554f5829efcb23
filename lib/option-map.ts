import { OPTION_PROPERTIES, optionText, quoteOption, rawOptionKey, refuseOption } from './option-keys';
import type { AssignedOptions, OptionProperty } from './option-keys';

/** Gathers the options under the library's keys; two spellings of one key must agree. */
export function optionMap(
  values: AssignedOptions,
  raw: readonly [string, string][],
  operation: string,
): Record<string, string> {
  const emitted = new Map<string, { spelling: string; value: string }>();
  const put = (spelling: string, key: string, value: string): void => {
    const other = emitted.get(key);
    if (other !== undefined && other.value !== value) throw contradiction(other, { spelling, value }, operation);
    emitted.set(key, { spelling, value });
  };
  for (const property of Object.keys(OPTION_PROPERTIES) as OptionProperty[]) {
    const { key } = OPTION_PROPERTIES[property].names;
    const value = optionText(values, property);
    if (key !== undefined && value !== undefined) put(property, key, value);
  }
  for (const [key, value] of Object.entries(values.geOptions ?? {})) {
    put(`geOptions[${quoteOption(key)}]`, rawOptionKey(key, operation), value);
  }
  for (const [key, value] of raw) put(key, rawOptionKey(key, operation), value);
  // fromEntries defines its properties, so no key can reach a prototype.
  return Object.fromEntries(Array.from(emitted, ([key, { value }]) => [key, value]));
}

interface Spelled {
  readonly spelling: string;
  readonly value: string;
}

function contradiction(first: Spelled, second: Spelled, operation: string): Error {
  return refuseOption(
    operation,
    `${first.spelling} (${quoteOption(first.value)}) and ${second.spelling} (${quoteOption(second.value)}) ` +
      'are the same option with different values',
    'Give only one of them.',
  );
}

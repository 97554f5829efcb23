import { LLMConfig } from './config';
import type { LLMConfigOptions } from './config';
import {
  assignOption,
  checkOptionText,
  isOptionProperty,
  isRawOptionKey,
  optionEntries,
  quoteOption,
  unknownOption,
} from './option-keys';
import type { AssignedOptions } from './option-keys';
import { optionMap } from './option-map';

/** Options under the keys of the library; they may be mixed with those of {@link LLMConfigOptions}. */
export type LLMRawOptions = Readonly<Record<`llm.${string}` | `ge.${string}`, string>>;

/** What `init` takes. */
export type LLMInitOptions =
  LLMConfig | LLMConfigOptions | (LLMConfigOptions & LLMRawOptions) | Readonly<Record<string, string>>;

/**
 * The options of `init` and `switchRole`, in any accepted form, as the C++ library reads them.
 *
 * Takes an {@link LLMConfig} or a plain object. In an object, the properties of {@link LLMConfigOptions} have their
 * rules, and keys that start with `llm.` or `ge.` pass with any text; both may be mixed. Of these keys
 * `ge.exec.deviceId` becomes `llm.DeviceId` and `llm.listenIpInfo` becomes `llm.ListenIpInfo`; all others are the same
 * in Python and C++ or unknown, and stay, unless they look like a known one. Only own enumerable string keys count, each
 * is read once, and whatever a getter or proxy throws reaches the caller.
 *
 * @param operation - The method in whose name errors are reported.
 * @throws TypeError (`ERR_INVALID_ARG_TYPE`) for anything else than such an object, and for a value of the wrong type.
 * @throws RangeError (`ERR_OUT_OF_RANGE`) for a number that does not fit its C++ type.
 * @throws LLMException `LLM_PARAM_INVALID` for any other key and for a misspelt one, naming the nearest known one; for two
 *   spellings of one option with different values; for NUL characters; for other values that an option cannot have.
 */
export function toOptions(input: unknown, operation = 'init'): Record<string, string> {
  // A subclass may generate what it likes, so its texts are checked as well.
  if (input instanceof LLMConfig) return toUntranslatedOptions(input.generateOptions(), operation);
  const values: AssignedOptions = {};
  const raw: [string, string][] = [];
  for (const [key, value] of optionEntries(input, 'options')) {
    if (isOptionProperty(key)) assignOption(values, key, value, operation);
    else if (isRawOptionKey(key)) raw.push(textEntry(key, value, operation));
    else throw unknownOption(key, operation);
  }
  return optionMap(values, raw, operation);
}

/**
 * A record of texts as it is: nothing is translated and no key is unknown. For callers that speak the option map of
 * the C++ library itself, which ignores what it does not know.
 *
 * @throws TypeError (`ERR_INVALID_ARG_TYPE`) when `record` is no object or holds anything but strings.
 * @throws LLMException `LLM_PARAM_INVALID` for NUL characters.
 */
export function toUntranslatedOptions(record: unknown, operation = 'init'): Record<string, string> {
  const entries: [string, string][] = [];
  for (const [key, value] of optionEntries(record, 'options')) entries.push(textEntry(key, value, operation));
  return Object.fromEntries(entries);
}

function textEntry(key: string, value: unknown, operation: string): [string, string] {
  return [
    checkOptionText(key, `the key ${quoteOption(key)}`, operation),
    checkOptionText(value, `options[${quoteOption(key)}]`, operation),
  ];
}

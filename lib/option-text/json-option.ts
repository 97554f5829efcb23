import { memberOf, parseJson, type JsonError, type JsonValue } from './json';
import { OptionError, quote } from './option-error';

/**
 * Reads the JSON text of an option.
 * @param name what the text is, such as `llm.LocalCommRes`
 * @throws OptionError
 */
export function readJsonOption(name: string, text: string): JsonValue {
  try {
    return parseJson(text);
  } catch (error) {
    const { message } = error as JsonError; // parseJson throws nothing else
    throw new OptionError(`${name} is ${quote(text)}, which is not JSON: ${message}.`);
  }
}

/** @throws OptionError unless `value` is an object with a string under `key` */
export function requiredString(name: string, value: JsonValue, key: string): string {
  const member = memberOf(value, key);
  if (member?.kind !== 'string') throw new OptionError(`${name} must have a string ${quote(key)}.`);
  return member.value;
}

/** @throws OptionError when there is something other than a string under `key` */
export function optionalString(name: string, value: JsonValue, key: string): string | undefined {
  return memberOf(value, key) === undefined ? undefined : requiredString(name, value, key);
}

/** @throws OptionError unless `value` is an object with an array under `key` */
export function requiredArray(name: string, value: JsonValue, key: string): readonly JsonValue[] {
  const member = memberOf(value, key);
  if (member?.kind !== 'array') throw new OptionError(`${name} must have an array ${quote(key)}.`);
  return member.items;
}

import { checkString, outOfRange } from './check';
import { DataType } from './data-type';

/** What of a description goes into its fingerprint. */
export interface Fingerprinted {
  readonly dataType: number;
  readonly shape: readonly (number | bigint)[];
  readonly tensorsPerLayer?: number;
  readonly tag?: string;
}

/** Tensors of a layer where a description does not say: K and V. */
export const DEFAULT_TENSORS_PER_LAYER = 2;

/** More than any fingerprint of a cache that the library takes: 30 dimensions and a tag. */
const MAX_LENGTH = 1024;
const FORM = /^(-?\d{1,10}):((?:\d{1,19}(?:,\d{1,19})*)?):(\d{1,3}):([^\p{Cc}\p{Cs}]{0,64})$/u;
const TAG = /^[^\p{Cc}\p{Cs}]{0,64}$/u;

/**
 * What two caches have in common whose bytes mean the same: the number of the data type, the shape behind the first
 * dimension, the tensors of a layer and the tag, with colons between them, as in `27:128,8,128:2:`. Numbers are decimal,
 * without leading zeros; an empty tag leaves nothing behind the last colon. A peer in C++ or Python writes the same text,
 * in Python `f"{int(data_type)}:{','.join(map(str, shape[1:]))}:{tensors_per_layer}:{tag}"`.
 *
 * It is a text and no hash so that a refusal can say both sides in words.
 */
export function fingerprintOf({ dataType, shape, tensorsPerLayer, tag }: Fingerprinted): string {
  return shared(`${dataType}:${shape.slice(1).join(',')}:${tensorsPerLayer ?? DEFAULT_TENSORS_PER_LAYER}:${tag ?? ''}`);
}

/** More fingerprints than a program has caches of different kinds. */
const MANY = 256;
/** Fingerprints that are in order, each of them once: two equal ones are compared without looking at their characters. */
const known = new Map<string, string>();

function shared(fingerprint: string): string {
  const first = known.get(fingerprint);
  if (first !== undefined) return first;
  if (known.size >= MANY) known.clear();
  known.set(fingerprint, fingerprint);
  return fingerprint;
}

/** @throws TypeError for anything but a string, RangeError for anything that {@link fingerprintOf} does not write */
export function checkFingerprint(value: unknown, name: string): string {
  const text = checkString(value, name);
  const isShort = text.length <= MAX_LENGTH;
  const first = isShort ? known.get(text) : undefined;
  if (first !== undefined) return first;
  if (!isShort || !FORM.test(text)) {
    throw outOfRange(name, 'a text as KvCache.key() gives it, such as "27:128,8,128:2:"', text);
  }
  return shared(text);
}

/** @throws TypeError for anything but a string, RangeError for one that is too long or has control characters */
export function checkTag(value: unknown, name: string): string {
  const tag = checkString(value, name);
  if (!TAG.test(tag)) throw outOfRange(name, 'at most 64 characters, without control characters', tag);
  return tag;
}

/** A fingerprint for a reader. */
export function fingerprintInWords(fingerprint: string): string {
  const [, dataType, shape = '', tensors, tag = ''] = FORM.exec(fingerprint) ?? [];
  const type = DataType[Number(dataType)] ?? `data type ${dataType}`;
  const label = tag === '' ? 'no tag' : `the tag ${JSON.stringify(tag)}`;
  return `${type}, rows of shape [${shape.split(',').join(', ')}], ${tensors} tensors per layer and ${label}`;
}

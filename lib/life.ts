import { randomBytes } from 'node:crypto';
import { checkString, outOfRange } from './check';

/** 128 bits. */
const BYTES = 16;
const LIFE = /^[0-9a-f]{32}$/;

/** Names one life of an instance, from `init` to `finalize`. Lives have no order: two are equal or not. */
export function newLife(): string {
  return randomBytes(BYTES).toString('hex');
}

/** The last life that was in order: the keys of one peer carry the same one, and thousands of calls a second have it. */
let known = '';

/** @throws TypeError for anything but a string, RangeError for anything but 32 lower-case hex digits */
export function checkLife(value: unknown, name: string): string {
  if (value === known && known !== '') return known;
  const life = checkString(value, name);
  if (!LIFE.test(life)) throw outOfRange(name, '32 lower-case hex digits, as LLMDataDist.life has them', life);
  known = life;
  return life;
}

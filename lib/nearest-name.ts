import { editDistance, typingErrors } from './edit-distance';

/** Longer than every name. */
const MAX_TYPED = 64;

/** Letters that are enough to say which name was begun. */
const MIN_BEGINNING = 3;

/** The known name that is nearest to what was typed, in whatever style: Python's `src_layer_range` is `srcLayerRange`. */
export function nearestName(typed: string, known: readonly string[]): string {
  let [nearest, least] = ['', Infinity];
  for (const name of known) {
    const distance = distanceOf(typed, name);
    if (distance < least) [nearest, least] = [name, distance];
  }
  return nearest;
}

/** Whether what was typed is the known name, written in another style. */
export function isSpelling(typed: string, known: string): boolean {
  return letters(typed.slice(0, MAX_TYPED)) === letters(known);
}

/**
 * Whether what was typed looks like the known name: another style of writing, its beginning, most of its letters in their
 * order, its plural, or a typing error in every four letters.
 */
export function isMisspelling(typed: string, known: string): boolean {
  const [text, name] = [letters(typed.slice(0, MAX_TYPED)), letters(known)];
  if (editDistance(text, name) <= name.length / 2) return true;
  if (text.length >= MIN_BEGINNING && name.startsWith(text)) return true;
  const errors = Math.max(1, Math.floor(name.length / 4));
  return [text, text.replace(/s$/, '')].some((each) => typingErrors(each, name) <= errors);
}

function distanceOf(typed: string, known: string): number {
  return editDistance(letters(typed.slice(0, MAX_TYPED)), letters(known));
}

function letters(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '');
}

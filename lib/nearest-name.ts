import { editDistance } from './edit-distance';

/** Longer than every name. */
const MAX_TYPED = 64;

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

/** Whether what was typed looks like the known name: another style of writing, or most of its letters in their order. */
export function isMisspelling(typed: string, known: string): boolean {
  return distanceOf(typed, known) <= known.length / 2;
}

function distanceOf(typed: string, known: string): number {
  return editDistance(letters(typed.slice(0, MAX_TYPED)), letters(known));
}

function letters(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '');
}

const SEED = 20_250_601;

/** The list in another order, the same in every run: Fisher and Yates, with the generator of Numerical Recipes. */
export function shuffled<T>(list: readonly T[]): T[] {
  const result = [...list];
  let state = SEED;
  for (let i = result.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [result[i], result[j]] = [result[j] as T, result[i] as T];
  }
  return result;
}

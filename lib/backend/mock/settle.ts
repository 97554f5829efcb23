import { Refusal } from './refusal';

/** The outcome of one cluster of a call: its refusal, or `undefined` for success. Anything else is a bug and passes. */
export async function settle(work: () => Promise<void>): Promise<Refusal | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

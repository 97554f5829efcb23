import type { Result } from './result';
import type { RoundOptions } from './rounds';

/** What a native suite runs, in a process of its own: the vendor's library stays loaded for as long as that lives. */
export interface NativeMeasurement {
  readonly name: string;
  readonly title: string;
  /** The lines that are held to a goal, for where they cannot be measured. */
  readonly held: readonly string[];
  /** @throws Unavailable */
  measure(options: RoundOptions): Promise<readonly Result[]>;
}

import type { Expect } from '../test-kit';
import type { Stage } from './stage';

/** Something that every backend must do, and how that is found out. */
export interface Behaviour {
  /** What it does, after the words "a backend". */
  readonly name: string;
  /** The number of instances that it needs at the same time. */
  readonly nodes: number;
  /** Fails when the backend does something else. The stage is cleared afterwards. */
  readonly run: (stage: Stage, expect: Expect) => Promise<void>;
}

/** Behaviours that have a subject in common. */
export interface BehaviourGroup {
  readonly subject: string;
  readonly behaviours: readonly Behaviour[];
}

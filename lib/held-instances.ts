/** What is held, as far as this file looks at it. */
interface Held {
  readonly backend: { readonly isDead?: boolean };
}

/** One list for all copies of the package in a realm: one that is loaded again, as jest does, does not lose the instances. */
const KEY = Symbol.for('llm-datadist.heldInstances');

const shared = globalThis as unknown as Record<symbol, Set<Held> | undefined>;
const held = (shared[KEY] ??= new Set<Held>());

/**
 * Instances that peers may be using. A transfer needs nothing of the side that it reads from or writes to, so a program may
 * keep nothing of an instance but the JSON of its keys: it must not be collected, and finalized, for that. The list keeps no
 * process from ending.
 */
export function hold(instance: Held): void {
  held.add(instance);
}

export function letGo(instance: Held): void {
  held.delete(instance);
}

/** Processes that a rehearsal has killed: nothing uses their instances. */
export function letGoOfDead(): void {
  for (const instance of held) if (instance.backend.isDead === true) held.delete(instance);
}

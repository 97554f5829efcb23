import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

type Collect = (options?: { readonly type: 'minor' }) => void;

let collect: Collect | undefined;

/** The collector of V8; the flag for it is set here, so that nobody has to start Node with one. */
function collector(): Collect {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    // The function comes with the contexts that are made from now on.
    collect = runInNewContext('gc') as Collect;
  }
  return collect;
}

/**
 * Collects what was allocated lately, which is all the garbage that a transfer makes. A full collection would also
 * shrink the young generation, and what runs next would pay for growing it again.
 */
export function collectYoung(): void {
  collector()({ type: 'minor' });
}

/** Bytes of the heap that are in use, after a full collection. */
export function usedHeap(): number {
  collector()();
  return process.memoryUsage().heapUsed;
}

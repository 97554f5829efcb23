import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let collect: (() => void) | undefined;

/** A full collection; the flag for it is set here, so that nobody has to start Node with one. */
export function collectGarbage(): void {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    // The function comes with the contexts that are made from now on.
    collect = runInNewContext('gc') as () => void;
  }
  collect();
}

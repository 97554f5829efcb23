import { clearImmediate, clearInterval, clearTimeout, setImmediate, setInterval, setTimeout } from 'node:timers';

/**
 * Node's own timers and clocks, as they are when this file is loaded: for all that takes place in real time, and for the turns
 * in which calls settle. Fake timers replace the global ones later, and some (of sinon, of node:test) those of node:timers too;
 * what read them at each call would wait for a test to advance them.
 */
export const nodeTimers = {
  setTimeout,
  clearTimeout,
  setInterval,
  clearInterval,
  setImmediate,
  clearImmediate,
  /** Milliseconds since some fixed point. */
  now: performance.now.bind(performance),
  /** Nanoseconds of a clock that all processes of a host share and that nothing sets. */
  hostNanoseconds: process.hrtime.bigint.bind(process.hrtime),
};

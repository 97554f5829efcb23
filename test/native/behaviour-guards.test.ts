import type { Backend } from '../../lib';
import { runOverStandIn } from './fixtures/behaviour';

jest.mock('../../lib/testing', () => {
  const testing = jest.requireActual<{ MockBackend: new (...args: unknown[]) => Backend }>(
    './fixtures/stand-in-testing',
  );
  return {
    ...testing,
    // These tests expect that a guard does not come to the backend. Of block numbers the shim has its own, which
    // behaviour-blocks.test.ts is about.
    MockBackend: function (...args: unknown[]) {
      return Object.assign(new testing.MockBackend(...args), { readsBlocksAtOnce: false });
    },
  };
});

runOverStandIn(
  () => {
    jest.requireActual('../guards.test');
  },
  [],
  79,
);

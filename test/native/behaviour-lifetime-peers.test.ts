import type { LeftOut } from './fixtures/behaviour';
import { runOverStandIn } from './fixtures/behaviour';

jest.mock('../../lib/testing', () => jest.requireActual<object>('./fixtures/stand-in-testing'));
jest.mock('../bad-input/states', () => ({
  ...jest.requireActual<object>('../bad-input/states'),
  turn: jest.requireActual<{ idle: unknown }>('./fixtures/stand-in-testing').idle,
}));

const LEFT_OUT: LeftOut[] = [
  {
    name: 'a transfer that waits for an unlink uses the lists of the caller as they were when he called',
    because:
      'the shim makes pulls and the link behind the unlink at the same time; arguments-lists.test.ts has the rest',
  },
];

runOverStandIn(
  () => {
    jest.requireActual('../lifetime-peers.test');
  },
  LEFT_OUT,
  20,
);

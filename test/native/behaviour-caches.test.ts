import type { LeftOut } from './fixtures/behaviour';
import { runOverStandIn } from './fixtures/behaviour';

jest.mock('../../lib/testing', () => jest.requireActual<object>('./fixtures/stand-in-testing'));

const LEFT_OUT: LeftOut[] = [
  {
    name: 'gives one region per tensor, registered under its address',
    because: 'expects fresh memory to be zero, which the runtime does not promise',
  },
  {
    name: 'is asked first to copy, and the package does not copy as well',
    because: 'expects fresh memory to be zero, which the runtime does not promise',
  },
];

runOverStandIn(
  () => {
    jest.requireActual('../caches.test');
  },
  LEFT_OUT,
  51,
);

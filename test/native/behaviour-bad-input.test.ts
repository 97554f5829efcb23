import type { LeftOut } from './fixtures/behaviour';
import { runOverStandIn } from './fixtures/behaviour';

jest.mock('../../lib/testing', () => jest.requireActual<object>('./fixtures/stand-in-testing'));

const LEFT_OUT: LeftOut[] = [
  {
    name: 'allocateMemory › refuses what makes no sense',
    because: 'the runtime refuses 0 bytes with a number of its own',
  },
  { name: 'registerCache › refuses what makes no sense', because: 'the bare library takes memory of nobody' },
  { name: 'no hostile value takes long', because: 'is about time' },
];

runOverStandIn(
  () => {
    jest.requireActual('../bad-input.test');
  },
  LEFT_OUT,
  113,
);

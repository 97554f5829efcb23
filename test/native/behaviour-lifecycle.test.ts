import type { LeftOut } from './fixtures/behaviour';
import { runOverStandIn } from './fixtures/behaviour';

jest.mock('../../lib/testing', () => jest.requireActual<object>('./fixtures/stand-in-testing'));
jest.mock('../bad-input/states', () => ({
  ...jest.requireActual<object>('../bad-input/states'),
  turn: jest.requireActual<{ idle: unknown }>('./fixtures/stand-in-testing').idle,
}));

const LEFT_OUT: LeftOut[] = [
  {
    name: 'init › a second time succeeds and changes nothing, whatever its options',
    because: 'looks for listeners in the network of the mock',
  },
  {
    name: 'init › that the library refuses can be tried any number of times',
    because: 'looks for listeners in the network of the mock',
  },
  {
    name: 'init › while finalize is under way has its options guarded as ever',
    because: 'looks for listeners in the network of the mock',
  },
  {
    name: 'finalize › while init is under way comes after it, and refuses what is called meanwhile',
    because: 'looks for listeners in the network of the mock',
  },
  {
    name: 'the end of a block › frees memory and finalizes the instance, in this order',
    because: 'looks for listeners in the network of the mock',
  },
];

runOverStandIn(
  () => {
    jest.requireActual('../lifecycle.test');
  },
  LEFT_OUT,
  91,
);

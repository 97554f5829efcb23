import type { LeftOut } from './fixtures/behaviour';
import { runOverStandIn } from './fixtures/behaviour';

jest.mock('../../lib/testing', () => jest.requireActual<object>('./fixtures/stand-in-testing'));
jest.mock('../bad-input/states', () => ({
  ...jest.requireActual<object>('../bad-input/states'),
  turn: jest.requireActual<{ idle: unknown }>('./fixtures/stand-in-testing').idle,
}));

const LEFT_OUT: LeftOut[] = [
  {
    name: 'where the instance listens › without guards reaches the library at once',
    because: 'leads the library into a hazard, as is meant without guards',
  },
];

runOverStandIn(
  () => {
    jest.requireActual('../lifetime-links.test');
  },
  LEFT_OUT,
  24,
);

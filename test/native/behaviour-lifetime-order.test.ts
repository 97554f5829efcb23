import { runOverStandIn } from './fixtures/behaviour';
import { standIn } from './fixtures/stand-in';

jest.mock('../../lib/testing', () => jest.requireActual<object>('./fixtures/stand-in-testing'));
jest.mock('../bad-input/states', () => ({
  ...jest.requireActual<object>('../bad-input/states'),
  turn: jest.requireActual<{ idle: unknown }>('./fixtures/stand-in-testing').idle,
}));

beforeEach(() => {
  // One of the calls registers memory of nobody, which the bare library takes.
  standIn.run('hazard foreign-registration off');
});

runOverStandIn(
  () => {
    jest.requireActual('../lifetime-order.test');
  },
  [],
  22,
);

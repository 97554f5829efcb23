import { runOverStandIn } from './fixtures/behaviour';

jest.mock('../../lib/testing', () => jest.requireActual<object>('./fixtures/stand-in-testing'));
jest.mock('../bad-input/states', () => ({
  ...jest.requireActual<object>('../bad-input/states'),
  turn: jest.requireActual<{ idle: unknown }>('./fixtures/stand-in-testing').idle,
}));

runOverStandIn(
  () => {
    jest.requireActual('../lifetime-caches.test');
  },
  [],
  57,
);

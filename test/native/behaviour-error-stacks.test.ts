import { runOverStandIn } from './fixtures/behaviour';

jest.mock('../../lib/testing', () => jest.requireActual<object>('./fixtures/stand-in-testing'));

runOverStandIn(
  () => {
    jest.requireActual('../error-stacks.test');
  },
  [],
  50,
);

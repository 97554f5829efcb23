import { runOverStandIn } from './fixtures/behaviour';

jest.mock('../../lib/testing', () => jest.requireActual<object>('./fixtures/stand-in-testing'));

runOverStandIn(
  () => {
    jest.requireActual('../error-stacks.test');
  },
  [
    {
      name: 'a call that is lost',
      because: 'time that a test turns is the one of the mock; lost.test.ts loses real calls',
    },
  ],
  50,
);

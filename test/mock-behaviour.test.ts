import { describeBackend, mockBackends } from '../lib/conformance';

describeBackend('the mock', { source: mockBackends }, { test, expect, describe });

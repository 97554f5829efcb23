/**
 * Bring your own backend: a decorator that measures every call, held to what the library does.
 *
 * Run it with `npx jest examples/own-backend`.
 */
import { mockBackends } from 'llm-datadist/conformance';

test('the package is found by its name', () => {
  expect(mockBackends().createBackend(1n, 1).name).toBe('mock');
});

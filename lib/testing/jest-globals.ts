/**
 * The matchers of `llm-datadist/testing/jest`, typed for the `expect` of `@jest/globals` and of the package `expect`, which
 * must be installed. Where jest has no global `expect`, register them with `expect.extend(matchers)`.
 *
 * @packageDocumentation
 */
// What is augmented must be part of the program.
import type {} from 'expect';
import type { LLMDataDistMatchers } from './jest';

export * from './jest';

declare module 'expect' {
  // Type parameters as the package declares them.
  interface Matchers<R extends void | Promise<void>, T = unknown> extends LLMDataDistMatchers<R> {}
}

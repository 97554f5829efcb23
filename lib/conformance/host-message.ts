import type { LLMBackendErrorJSON } from '../backend-error';
import type { Crc, ForeignCache, NodeFailure, Outcome, Setting } from './host';
import type { Step } from './step';

/** What the process of a host gets. */
export type HostRequest =
  /** The first of all. `backend` as `namedBackends` takes it. */
  | { readonly kind: 'start'; readonly backend: string; readonly setting: Setting }
  | { readonly kind: 'make'; readonly step: Step; readonly foreign: ReadonlyMap<string, ForeignCache> }
  | { readonly kind: 'crc'; readonly cache: string }
  | { readonly kind: 'finalize'; readonly node: string }
  | { readonly kind: 'free' };

/** What it answers to each request. */
export interface HostResults {
  readonly start: NodeFailure | undefined;
  readonly make: Outcome;
  readonly crc: Crc;
  readonly finalize: NodeFailure | undefined;
  readonly free: readonly NodeFailure[];
}

/** What it sends back. */
export type HostAnswer =
  | { readonly kind: 'result'; readonly result: HostResults[keyof HostResults] }
  /** Instead of a result: an `LLMBackendError`. */
  | { readonly kind: 'no library'; readonly failure: LLMBackendErrorJSON }
  /** Instead of a result: a `BackendModuleError`. */
  | { readonly kind: 'no module'; readonly message: string };

/** Asks the process to end; there is no answer but that it does. */
export const END = 'end';

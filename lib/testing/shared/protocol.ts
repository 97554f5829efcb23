import type { Schedule } from '../../backend/mock/clock';
import type { Fault } from '../fault';
import type { PartitionState } from '../partitions';

/** Of what the processes of a rehearsal say to each other; all of them have the same one. */
export const PROTOCOL_VERSION = 3;

/** Whose time passes: `manual` stands still until it is advanced, `real` is that of the host. */
export type SharedTime = 'manual' | 'real';

/** What holds for all processes of a rehearsal. */
export interface SharedRules {
  readonly time: SharedTime;
  readonly strict: boolean;
  readonly seed: number;
  /** When the rehearsal began, on the clock that all processes of a host share; nanoseconds. */
  readonly originNs: bigint;
}

/** A fault that may still hit a call. */
export interface SharedFaultEntry {
  readonly id: string;
  readonly definition: Fault;
}

/**
 * Which requests an obstacle stops: those that a process makes, or those that come to it. A way is opened for what comes
 * first, so that what is made has a way.
 */
export type Side = 'made' | 'served';

/** What a process learns when it joins. */
export interface Welcome {
  /** The number of the process in the rehearsal. */
  readonly seat: number;
  readonly rules: SharedRules;
  readonly now: number;
  readonly faults: readonly SharedFaultEntry[];
  readonly partitions: PartitionState;
  readonly down: readonly bigint[];
}

/** What has gone over a connection: its name, messages sent and received. */
export type TrafficCount = readonly [name: string, sent: number, received: number];

/** Whether anything still happens in a process by itself. */
export interface Rest {
  readonly schedule: Schedule;
  /** It makes a connection, sends, or waits for the hub. */
  readonly isBusy: boolean;
  readonly traffic: readonly TrafficCount[];
}

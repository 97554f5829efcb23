import type { Channel } from './channel';
import { Watchdog } from './watchdog';

/** What a connection without a link may do. */
export interface UnlinkedLimits {
  /** How long it may be without one, in milliseconds. */
  readonly milliseconds: number;
  /** Connections from one address. */
  readonly perAddress: number;
}

/** Addresses that reach their limit at the same time. */
const FULL_ADDRESSES = 2;

interface Unlinked {
  readonly channel: Channel;
  readonly watchdog: Watchdog;
  silent: boolean;
}

/**
 * Connections to a listener that have made no link yet: all have the same time, and when there are too many the oldest has to
 * go, of those that have said nothing first. So a peer that says nothing, or little, keeps no other one out.
 */
export class UnlinkedConnections {
  readonly #limits: UnlinkedLimits;
  /** By the address of the other side, the oldest first. */
  readonly #byAddress = new Map<string, Map<Channel, Unlinked>>();
  #size = 0;

  constructor(limits: UnlinkedLimits) {
    this.#limits = limits;
  }

  add(channel: Channel, address: string, silent: boolean): void {
    const watchdog = new Watchdog(
      this.#limits.milliseconds,
      () => 0,
      () => {
        channel.destroy();
      },
    );
    const group = this.#byAddress.get(address) ?? new Map<Channel, Unlinked>();
    this.#byAddress.set(address, group);
    group.set(channel, { channel, watchdog, silent });
    this.#size += 1;
    watchdog.watch();
    if (group.size > this.#limits.perAddress) dropOldest(group, channel);
    else if (this.#size > FULL_ADDRESSES * this.#limits.perAddress) dropOldest(this.#largest(), channel);
  }

  /** The other side has said which instance it is. */
  greeted(channel: Channel, address: string): void {
    const unlinked = this.#byAddress.get(address)?.get(channel);
    if (unlinked !== undefined) unlinked.silent = false;
  }

  remove(channel: Channel, address: string): void {
    const group = this.#byAddress.get(address);
    const unlinked = group?.get(channel);
    if (group === undefined || unlinked === undefined) return;
    unlinked.watchdog.stop();
    group.delete(channel);
    if (group.size === 0) this.#byAddress.delete(address);
    this.#size -= 1;
  }

  /** Ends the oldest one, of the address that has most of them. @returns whether there was one */
  dropOldest(): boolean {
    return dropOldest(this.#largest());
  }

  clear(): void {
    for (const group of [...this.#byAddress.values()]) for (const channel of [...group.keys()]) channel.destroy();
  }

  #largest(): ReadonlyMap<Channel, Unlinked> {
    let largest: ReadonlyMap<Channel, Unlinked> = new Map();
    for (const group of this.#byAddress.values()) if (group.size > largest.size) largest = group;
    return largest;
  }
}

function dropOldest(group: ReadonlyMap<Channel, Unlinked>, but?: Channel): boolean {
  let oldest: Channel | undefined;
  for (const { channel, silent } of group.values()) {
    if (channel === but) continue;
    oldest ??= channel;
    if (!silent) continue;
    oldest = channel;
    break;
  }
  oldest?.destroy();
  return oldest !== undefined;
}

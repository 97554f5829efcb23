import type { Clock } from '../../backend/mock/clock';
import type { Arrival } from '../../backend/mock/wire';
import type { Flow } from './fair-share';
import { shareFairly } from './fair-share';

/** A clock on which one can wait and change one's mind. */
export type WireClock = Clock & Required<Pick<Clock, 'after'>>;

/** What is to be carried. */
export interface Shipment extends Omit<Flow, 'rate'> {
  readonly bytes: number;
  /** Milliseconds before the first byte moves. */
  readonly latencyMs: number;
  /** Milliseconds after which it is given up. */
  readonly limitMs: number;
  /** The cluster ids of its ends. */
  readonly ends: readonly [bigint, bigint];
}

/** A shipment on its way. */
interface Transit extends Flow {
  readonly ends: readonly [bigint, bigint];
  readonly startsAt: number;
  readonly limitAt: number;
  bytesLeft: number;
  readonly end: (arrival: Arrival) => void;
}

/** Milliseconds that cannot be distinguished: a nanosecond, and more than the rounding of times in sums. */
const SAME_MOMENT = 1e-6;

/**
 * Everything that is on the wire. Rates change only when something begins or ends, so that from one such moment to the
 * next all that is left can be computed.
 */
export class Traffic {
  readonly #clock: WireClock;
  readonly #transits = new Set<Transit>();
  #seenAt = 0;
  #alarm: (() => void) | undefined;
  #isPlanned = false;

  constructor(clock: WireClock) {
    this.#clock = clock;
  }

  carry({ bytes, latencyMs, limitMs, ceiling, channels, ends }: Shipment): Promise<Arrival> {
    return new Promise((end) => {
      const now = this.#clock.now();
      const startsAt = now + latencyMs;
      const bytesLeft = ceiling === Infinity && channels.length === 0 ? 0 : bytes;
      this.#transits.add({ ends, startsAt, limitAt: now + limitMs, bytesLeft, ceiling, channels, rate: 0, end });
      this.#planSoon();
    });
  }

  /** Drops what is on its way between two nodes, or from and to one of them. */
  drop(clusterId: bigint, other?: bigint): void {
    for (const transit of this.#transits) {
      const hit = transit.ends.includes(clusterId) && (other === undefined || transit.ends.includes(other));
      if (hit) this.#end(transit, 'dropped');
    }
    this.#planSoon();
  }

  /** Once for all that begins or ends in the same turn: a thousand transfers may begin at once. */
  #planSoon(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    void Promise.resolve().then(() => {
      this.#isPlanned = false;
      this.#plan();
    });
  }

  #plan(): void {
    const now = this.#clock.now();
    const passed = now - this.#seenAt;
    this.#seenAt = now;
    for (const transit of this.#transits) {
      // Before it began to move its rate was 0.
      if (transit.rate > 0) transit.bytesLeft -= transit.rate * passed;
      const isMoving = transit.startsAt <= now + SAME_MOMENT;
      if (isMoving && transit.bytesLeft <= transit.rate * SAME_MOMENT) this.#end(transit, 'arrived');
      else if (transit.limitAt <= now + SAME_MOMENT) this.#end(transit, 'late');
    }
    shareFairly([...this.#transits].filter(({ startsAt }) => startsAt <= now + SAME_MOMENT));
    this.#setAlarm(now);
  }

  #setAlarm(now: number): void {
    this.#alarm?.();
    this.#alarm = undefined;
    let next = Infinity;
    for (const { rate, startsAt, limitAt, bytesLeft } of this.#transits) {
      next = Math.min(next, limitAt, rate > 0 ? now + bytesLeft / rate : startsAt);
    }
    if (next === Infinity) return;
    this.#alarm = this.#clock.after(Math.max(0, next - now), () => {
      this.#alarm = undefined;
      this.#plan();
    });
  }

  #end(transit: Transit, arrival: Arrival): void {
    this.#transits.delete(transit);
    transit.end(arrival);
  }
}

/** Something that transfers share: a port of a node, or the way between two. */
export interface Channel {
  /** Bytes per millisecond. */
  readonly capacity: number;
}

/** A transfer that has bytes to move. */
export interface Flow {
  /** Bytes per millisecond that it gets to when it has everything to itself. */
  readonly ceiling: number;
  readonly channels: readonly Channel[];
  /** Bytes per millisecond that it gets. */
  rate: number;
}

/** What is left of a channel, and for how many. */
interface Rest {
  capacity: number;
  flows: number;
}

/**
 * Sets the rates: max-min fair. No flow can get more without another one losing that has no more than it. So a channel that
 * is short is shared in equal parts, and what a flow cannot use, because of its ceiling or of a shorter channel, goes to
 * the others.
 */
export function shareFairly(flows: Iterable<Flow>): void {
  const rests = new Map<Channel, Rest>();
  let waiting: Flow[] = [];
  for (const flow of flows) {
    waiting.push(flow);
    for (const channel of flow.channels) {
      const rest = rests.get(channel);
      if (rest === undefined) rests.set(channel, { capacity: channel.capacity, flows: 1 });
      else rest.flows += 1;
    }
  }
  while (waiting.length > 0) {
    // All rates rise alike until the first flow is at its ceiling, or the first channel is full.
    const shares = new Map(waiting.map((flow) => [flow, shareOf(flow, rests)]));
    const level = Math.min(...shares.values());
    const [fixed, rest] = [
      waiting.filter((flow) => shares.get(flow) === level),
      waiting.filter((flow) => shares.get(flow) !== level),
    ];
    for (const flow of fixed) {
      flow.rate = level;
      for (const channel of flow.channels) take(rests.get(channel), level);
    }
    waiting = rest;
  }
}

function shareOf(flow: Flow, rests: ReadonlyMap<Channel, Rest>): number {
  let share = flow.ceiling;
  for (const channel of flow.channels) {
    const rest = rests.get(channel);
    if (rest !== undefined) share = Math.min(share, rest.capacity / rest.flows);
  }
  return share;
}

function take(rest: Rest | undefined, rate: number): void {
  if (rest === undefined) return;
  rest.capacity = Math.max(0, rest.capacity - rate);
  rest.flows -= 1;
}

import {
  checkArray,
  checkElements,
  checkFinite,
  checkObject,
  measureArray,
  outOfRange,
  unfit,
  unknownName,
} from '../../check';
import type { Names } from '../../check';
import { pairOf } from '../node-pair';
import type { NodeRef } from '../node-ref';
import { clusterIdOf } from '../node-ref';
import type { Bandwidth, Speeds } from './bandwidth';
import { checkBandwidth } from './bandwidth';
import type { WirePreset } from './presets';
import { isPreset, WIRE_PRESETS } from './presets';

/** The way between two nodes. */
export interface WireLinkOptions {
  /** Milliseconds before the first byte of a transfer moves: once per pull, and per layer of a push. Default 0. */
  readonly latencyMs?: number;
  /** Up to this number of milliseconds more, each time others; the same for the same seed. Default 0. */
  readonly jitterMs?: number;
  /**
   * What a transfer gets to that has the way to itself, and the highest figure of it is what all transfers between the two
   * share, each way. Blocks are what the library copies at once: neighbouring blocks of a call are one. Default: no limit.
   *
   * Given by direction, a transfer in a direction that is left out is refused with `LLM_FAILED`.
   */
  readonly bandwidth?: Bandwidth;
}

/** How long transfers take. */
export interface WireOptions extends WireLinkOptions {
  /**
   * Bytes per second that all transfers of a node share, out of it and, as many again, into it. Default: the highest
   * figure of the bandwidths, as if each node had one port.
   */
  readonly port?: number;
  /** Up to 1,024 ways that are different from the others, in both directions; what is left out is as for the others. */
  readonly between?: readonly (WireLinkOptions & { readonly nodes: readonly [NodeRef, NodeRef] })[];
}

/** More ways than any test needs. Each may name the same long table of bandwidths. */
const MAX_WAYS = 1024;

const LINK: Names<WireLinkOptions> = { latencyMs: true, jitterMs: true, bandwidth: true };
const WIRE: Names<WireOptions> = { ...LINK, port: true, between: true };
const BETWEEN: Names<NonNullable<WireOptions['between']>[number]> = { ...LINK, nodes: true };

/** One way, ready for use. */
export interface LinkFigures {
  readonly latencyMs: number;
  readonly jitterMs: number;
  /** `undefined` for no limit. */
  readonly speeds: Speeds | undefined;
  /** Bytes per millisecond that all transfers share, each way. */
  readonly capacity: number;
}

/** The options, ready for use. */
export interface WireFigures {
  readonly base: LinkFigures;
  /** Bytes per millisecond of a node, each way. */
  readonly port: number;
  /** By {@link pairOf}. */
  readonly between: ReadonlyMap<string, LinkFigures>;
}

/** @throws TypeError, RangeError */
export function checkWireOptions(value: unknown, name: string): WireFigures {
  const { port, between, ...link } = typeof value === 'string' ? presetOf(value, name) : checkObject(value, name);
  const base = checkLink(link, name, { latencyMs: 0, jitterMs: 0, speeds: undefined, capacity: Infinity }, WIRE);
  const pairs = new Map<string, LinkFigures>();
  const different = between === undefined ? [] : checkArray(between, `${name}.between`, (each) => each, MAX_WAYS);
  for (const [i, each] of different.entries()) {
    const here = `${name}.between[${i}]`;
    const { nodes, ...fields } = checkObject(each, here);
    const ends = measureArray(nodes, `${here}.nodes`);
    if (ends.length !== 2) throw unfit(`${here}.nodes`, `names ${ends.length} nodes: a way has two ends`);
    const [a, b] = checkElements(ends, clusterIdOf) as [bigint, bigint];
    if (a === b) throw unfit(`${here}.nodes`, `names cluster ${a} as both ends`);
    if (pairs.has(pairOf(a, b))) {
      throw unfit(`${here}.nodes`, `names cluster ${a} and cluster ${b}, whose way was given before`);
    }
    pairs.set(pairOf(a, b), checkLink(fields, here, base, BETWEEN));
  }
  const limited = [base, ...pairs.values()].map(({ capacity }) => capacity).filter((capacity) => capacity < Infinity);
  const highest = limited.length === 0 ? Infinity : Math.max(...limited);
  return { base, between: pairs, port: port === undefined ? highest : checkFinite(port, `${name}.port`, 1) / 1000 };
}

function presetOf(text: string, name: string): Record<string, unknown> {
  if (!isPreset(text)) throw outOfRange(name, `one of ${Object.keys(WIRE_PRESETS).join(', ')}`, text);
  return { ...WIRE_PRESETS[text satisfies WirePreset] };
}

function checkLink(
  fields: Record<string, unknown>,
  name: string,
  preset: LinkFigures,
  known: Names<WireLinkOptions>,
): LinkFigures {
  const { latencyMs, jitterMs, bandwidth, ...others } = fields;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw unknownName(name, 'property', unknown, known);
  const speeds = bandwidth === undefined ? preset.speeds : checkBandwidth(bandwidth, `${name}.bandwidth`);
  return {
    latencyMs: latencyMs === undefined ? preset.latencyMs : checkFinite(latencyMs, `${name}.latencyMs`, 0),
    jitterMs: jitterMs === undefined ? preset.jitterMs : checkFinite(jitterMs, `${name}.jitterMs`, 0),
    speeds,
    capacity: speeds === undefined ? Infinity : Math.max(...Array.from(speeds.values(), ({ peak }) => peak)),
  };
}

import fc from 'fast-check';
import type { Flaw, Layers, Shape } from './call';
import { MAX_NODES } from './step';
import type { Peer, PortChoice, Run, Step } from './step';
import { SLOTS } from './world';

const place = (max: number) => fc.integer({ min: 0, max });
const node = place(MAX_NODES - 1);
const slot = place(SLOTS - 1);
const rarely = (weight: number) =>
  fc.oneof({ weight: 100 - weight, arbitrary: fc.constant(false) }, { weight, arbitrary: fc.constant(true) });

/** Mostly the first one. */
function mostly<const T>(percent: number, first: T, ...others: readonly T[]): fc.Arbitrary<T> {
  return fc.oneof(
    { weight: percent, arbitrary: fc.constant(first) },
    { weight: 100 - percent, arbitrary: fc.constantFrom(...others) },
  );
}

const usualShape: Shape = { tensors: 4, rows: 4, columns: 6, halfBytes: false, host: false };
const shape: fc.Arbitrary<Shape> = fc.oneof(
  { weight: 6, arbitrary: fc.constant(usualShape) },
  {
    weight: 4,
    arbitrary: fc.record({
      tensors: mostly(50, 4, 0, 1, 2, 3, 5, 6),
      rows: fc.integer({ min: 1, max: 5 }),
      columns: mostly(50, 6, 1, 2, 3, 4, 5, 8),
      halfBytes: rarely(15),
      host: rarely(15),
    }),
  },
);

const portChoice = mostly<PortChoice>(75, 'own', 'none', 'spare', 'next', 'malformed');
const peer: fc.Arbitrary<Peer> = fc.record({
  node,
  id: mostly<Peer['id']>(85, 'true', 'unknown', 'other'),
  address: mostly<Peer['address']>(90, 'listening', 'spare', 'none', 'two'),
});

const init = fc.record({
  op: fc.constant('init' as const),
  node,
  device: mostly(90, 'own', 'first', 'absent', 'malformed', 'two', 'missing'),
  port: portChoice,
  waitTime: mostly(92, 'default', 'zero', 'malformed'),
});
const onClusters = fc.record({
  op: mostly(70, 'linkClusters', 'unlinkClusters'),
  node,
  peers: fc.oneof(
    { weight: 7, arbitrary: fc.array(peer, { minLength: 1, maxLength: 1 }) },
    { weight: 3, arbitrary: fc.array(peer, { maxLength: 3 }) },
  ),
  locals: mostly(70, 1, 0, 2),
  timeout: mostly(97, 1000, 0, -1),
  badAddress: rarely(3),
  force: fc.boolean(),
});
const registration = fc.record({
  op: mostly(60, 'allocateCache', 'registerCache'),
  node,
  slot: mostly(80, 1, 0, 2),
  shape,
  memoryOf: fc.oneof({ weight: 7, arbitrary: fc.constant(undefined) }, { weight: 3, arbitrary: slot }),
  flaw: mostly<Flaw | undefined>(
    85,
    undefined,
    'no addresses',
    'an address too few',
    'address 0',
    'no dimensions',
    'dimension 0',
    'no type',
  ),
});
const layers = (max: number): fc.Arbitrary<Layers> =>
  fc
    .tuple(fc.integer({ min: -1, max }), fc.integer({ min: 0, max: 2 }))
    .map(([first, more]) => [first, first + more] as const);
const ranges = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.constant([
      [-1, -1],
      [-1, -1],
    ] as const),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(place(1), place(1), place(1)).map(
      ([src, dst, more]) =>
        [
          [src, src + more],
          [dst, dst + more],
        ] as const,
    ),
  },
  { weight: 1, arbitrary: fc.tuple(layers(2), layers(2)) },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.tuple(fc.integer({ min: -2, max: 2 }), fc.integer({ min: -2, max: 2 })), layers(2)),
  },
);
const block = mostly(96, 0, 1, 2, 3, 4, 5, 4_294_967_296).chain((first) =>
  first === 0 ? place(3) : fc.constant(first),
);
const blockLists = fc
  .oneof(
    { weight: 9, arbitrary: fc.array(fc.tuple(block, block), { minLength: 1, maxLength: 5 }) },
    {
      weight: 3,
      arbitrary: fc
        .tuple(place(2), place(2), fc.integer({ min: 1, max: 4 }))
        .map(([src, dst, count]) => Array.from({ length: count }, (_, i) => [src + i, dst + i] as const)),
    },
  )
  .map((pairs) => ({ srcBlocks: pairs.map(([src]) => src), dstBlocks: pairs.map(([, dst]) => dst) }));
const lists = fc.oneof(
  { weight: 19, arbitrary: blockLists },
  {
    weight: 1,
    arbitrary: fc.record({
      srcBlocks: fc.array(place(3), { maxLength: 2 }),
      dstBlocks: fc.array(place(3), { maxLength: 2 }),
    }),
  },
);
const row = fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, { weight: 4, arbitrary: place(4) });
const transfer = fc
  .tuple(
    fc.record({
      op: fc.constantFrom('pullCache' as const, 'pullBlocks' as const, 'pushCache' as const, 'pushBlocks' as const),
      node,
      slot: mostly(60, 0, 1, 2),
      byHandle: fc.boolean(),
      localRow: row,
      peerNode: node,
      isLinked: mostly(85, true, false),
      peerSlot: mostly(60, 0, 1, 2),
      peerId: mostly(94, 'true', 'unknown', 'own'),
      withLayout: fc.boolean(),
      remoteRow: row,
      size: mostly(88, -1, 1, 3, 6, 7, 0, -2),
      perLayer: mostly(85, 2, 1, 3, 4, 0),
    }),
    ranges,
    lists,
  )
  .map(([fields, [srcLayers, dstLayers], { srcBlocks, dstBlocks }]) => {
    const isBlocks = fields.op === 'pullBlocks' || fields.op === 'pushBlocks';
    // Block calls take row 0 only; row calls take no lists.
    const remoteRow = isBlocks && fields.remoteRow < 5 ? 0 : fields.remoteRow;
    return {
      ...fields,
      remoteRow,
      srcLayers,
      dstLayers,
      srcBlocks: isBlocks ? srcBlocks : [],
      dstBlocks: isBlocks ? dstBlocks : [],
    };
  });

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 55, arbitrary: transfer },
  { weight: 15, arbitrary: onClusters },
  { weight: 8, arbitrary: registration },
  { weight: 7, arbitrary: init },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constantFrom('unregisterCache' as const, 'deallocateCache' as const, 'free' as const),
      node,
      slot,
      byHandle: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('write' as const),
      node,
      slot,
      tensor: place(5),
      offset: place(12),
      bytes: fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 8 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant('switchRole' as const),
      node,
      role: mostly(90, 1, 2, 3, 0, 4),
      port: portChoice,
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('finalize' as const), node }) },
);

/** Most runs begin with a cluster that works: every node listens, has a cache, and is linked to the one before it. */
function beginning(nodes: number): Step[] {
  const all = Array.from({ length: nodes }, (_, i) => i);
  const init = (node: number): Step => ({ op: 'init', node, device: 'own', port: 'own', waitTime: 'default' });
  const allocate = (node: number, slot: number): Step => ({
    op: 'allocateCache',
    node,
    slot,
    shape: usualShape,
    memoryOf: undefined,
    flaw: undefined,
  });
  const link = (node: number): Step => ({
    op: 'linkClusters',
    node,
    peers: [{ node: (node + nodes - 1) % nodes, id: 'true', address: 'listening' }],
    locals: 1,
    timeout: 1000,
    badAddress: false,
    force: false,
  });
  return [
    ...all.map(init),
    ...[0, 1].flatMap((slot) => all.map((node) => allocate(node, slot))),
    ...all.slice(1).map(link),
  ];
}

/** Runs of `maxSteps` steps at most, besides those that they begin with. */
export function runs(maxSteps: number): fc.Arbitrary<Run> {
  return fc
    .record({
      engine: mostly<Run['engine']>(65, 'hccl', 'comm'),
      guards: fc.boolean(),
      nodes: fc.integer({ min: 2, max: MAX_NODES }),
      begun: mostly(85, true, false),
      steps: fc.array(step, { maxLength: maxSteps, size: 'max' }),
    })
    .map(({ engine, guards, nodes, begun, steps }) => {
      return { engine, guards, nodes, steps: begun ? [...beginning(nodes), ...steps] : steps };
    });
}

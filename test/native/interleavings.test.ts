import { planOf } from '../interleavings/generate';
import { run } from '../interleavings/interleaving';
import { nativeStage } from '../interleavings/stages/native';
import type { CallName, CallStep, Plan, Step } from '../interleavings/steps';
import { warningsDuring } from '../fixtures/warnings';
import { built } from './fixtures/built';

Object.assign(process.env, built().env);

const SEED = 20_261_130;
const LIMIT_MS = 600_000;

async function problemsOf(plans: readonly Plan[]): Promise<string[]> {
  const all: string[] = [];
  await warningsDuring(async () => {
    for (const plan of plans) all.push(...(await run(plan, await nativeStage(plan))).problems);
  });
  return all;
}

test(
  'interleavings hold over the stand-in',
  async () => {
    const plans = Array.from({ length: 20 }, (_, index) => planOf(SEED, index));
    expect(await problemsOf(plans)).toEqual([]);
  },
  LIMIT_MS,
);

test(
  'an interleaving waits at its end for a call that was given up, before it finalizes the others',
  async () => {
    const { nodes, steps, ...plan } = planOf(SEED, 0);
    const any = steps.find((step): step is CallStep => 'call' in step)!;
    const call = (name: CallName, node: number): Step => ({
      ...any,
      ...{ call: name, node, limits: undefined, force: true, gap: { kind: 'settle' } },
    });
    const fault = { call: 'switchRole', node: 0, effect: 'hang', delayMs: 1, times: 1, skip: 0 } as const;
    // Until its role switch has been given up, as a rule.
    const rest = Array.from({ length: 60 }, (): Step => ({
      fabric: 'heal',
      node: 0,
      peer: 1,
      gap: { kind: 'time', ms: 5 },
    }));
    const hung: Plan = {
      ...plan,
      nodes: [0, 1].map(() => ({ ...nodes[0]!, listens: false, hangTimeout: 1000 })),
      steps: [
        call('init', 0),
        call('init', 1),
        { fabric: 'fault', fault, gap: { kind: 'none' } },
        { ...call('switchRole', 0), gap: { kind: 'none' } },
        ...rest,
      ],
    };
    expect(await problemsOf(Array.from({ length: 10 }, () => hung))).toEqual([]);
  },
  LIMIT_MS,
);

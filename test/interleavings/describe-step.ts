import type { CallStep, Gap, Limits, Step } from './steps';

const TRANSFERS = /^(pull|push|copy|swap)/;
const LINKS = /^(un)?link/;

/** A step in a line, with what the step looks at. */
export function describeStep(step: Step): string {
  const gap = describeGap(step.gap);
  if (!('call' in step)) {
    return `${step.fabric} ${JSON.stringify({ ...step, fabric: undefined, gap: undefined })}${gap}`;
  }
  return [step.call, `node ${step.node}`, ...detailsOf(step), ...limitsOf(step.limits)].join(', ') + gap;
}

function detailsOf(step: CallStep): string[] {
  const { call, peer, cache, other, rows, otherRows, layers, isCareful, life, isOldKey, force, linkTimeout } = step;
  if (LINKS.test(call)) return [`peer ${peer}`, `life ${life}`, `force ${force}`, `timeout ${linkTimeout}`];
  const care = isCareful ? [] : ['careless'];
  if (!TRANSFERS.test(call)) return [`cache ${cache}`, `rows ${rows.join()}`, `force ${force}`, ...care];
  return [
    `peer ${peer}`,
    `caches ${cache} and ${other}`,
    `rows ${rows.join()} to ${otherRows.join()}`,
    ...(layers === undefined ? [] : [`layers ${layers.join('+')}`]),
    ...(isOldKey ? ['old key'] : []),
    ...care,
  ];
}

function limitsOf({ timeout, abort }: Limits = {}): string[] {
  return [
    ...(timeout === undefined ? [] : [`within ${timeout} ms`]),
    ...(abort === undefined
      ? []
      : [`aborted ${abort.kind === 'before' ? 'before' : `after ${abort.count} ${abort.kind}`}`]),
  ];
}

function describeGap(gap: Gap): string {
  switch (gap.kind) {
    case 'none':
      return '';
    case 'time':
      return `; then ${gap.ms} ms`;
    case 'settle':
      return '; until all have settled';
    default:
      return `; then ${gap.count} ${gap.kind}`;
  }
}

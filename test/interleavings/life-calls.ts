import { LLMRole } from '../../lib';
import type { CallOptions } from '../../lib';
import { common } from './context';
import type { Context } from './context';

export function init(context: Context): void {
  const { calls, world, node } = context;
  const { dist } = node;
  const options = world.initOptions(node);
  calls.start({ ...common(context), make: (limits) => dist.init(options, limits) });
}

export function finalize(context: Context): void {
  const { node } = context;
  const { dist } = node;
  endLife(context, (limits) => dist.finalize(limits));
}

/** What `await using` does at the end of its block. */
export function dispose(context: Context): void {
  const { node, step } = context;
  const { dist } = node;
  endLife({ ...context, step: { ...step, limits: undefined } }, () => dist[Symbol.asyncDispose]());
}

function endLife(context: Context, make: (limits: CallOptions | undefined) => Promise<void>): void {
  const { calls, world, node } = context;
  if (world.stage.isCautious && node.transfersWithIt > 0) return;
  const forget = () => {
    node.forget();
    world.forgetLinks(node);
  };
  forget();
  calls.start({ ...common(context), operation: 'finalize', make, released: forget });
}

export function switchRole(context: Context): void {
  const { calls, world, node, step } = context;
  const { dist } = node;
  const { listenIpInfo } = world.initOptions(node);
  // Without an address it stops listening.
  const options = listenIpInfo === undefined || step.force ? {} : { listenIpInfo };
  const role = step.force ? LLMRole.PROMPT : LLMRole.MIX;
  calls.start({
    ...common(context),
    make: (limits) => dist.switchRole(role, options, limits),
    resolved: () => {
      world.forgetLinks(node);
    },
  });
}

export function linkClusters(context: Context): void {
  const { calls, world, node, step } = context;
  const peer = world.peer(node, step);
  const present = peer.dist.life === '' ? undefined : peer.dist.life;
  const life = { present, wrong: '0123456789abcdef'.repeat(2), none: undefined }[step.life];
  const { dist } = node;
  const cluster = world.clusterOf(peer, life);
  world.forgetLinks(peer);
  calls.start({
    ...common(context),
    limits: withLinkTimeout(context),
    make: (limits) => dist.linkClusters([cluster], { ...limits, timeout: step.linkTimeout }),
    resolved: () => {
      if (dist === node.dist && peer.dist.life === present) node.links.set(peer.number, { life });
    },
  });
}

export function unlinkClusters(context: Context): void {
  const { calls, world, node, step } = context;
  const peer = world.peer(node, step);
  const { dist } = node;
  const cluster = world.clusterOf(peer);
  const forget = () => {
    node.links.delete(peer.number);
    peer.links.delete(node.number);
  };
  forget();
  calls.start({
    ...common(context),
    limits: withLinkTimeout(context),
    make: (limits) => dist.unlinkClusters([cluster], { ...limits, timeout: step.linkTimeout, force: step.force }),
    released: forget,
  });
}

/** The timeout of these calls is the library's own. */
function withLinkTimeout({ step }: Context) {
  const { abort } = step.limits ?? {};
  return abort === undefined ? undefined : { abort };
}

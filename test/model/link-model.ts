import type { Cluster } from './call';
import type { Life, LinkRecord, Status, World } from './world';

/** One cluster of a link call: specification 3.4 and 3.5, 4.4. */
export function linkOne(world: World, life: Life, { id, ports }: Cluster, locals: number): Status {
  const [port] = ports;
  if (port === undefined || ports.length !== 1) return 'LLM_PARAM_INVALID';
  return world.engine === 'hccl' ? linkBoth(world, life, id, port, locals) : linkOneWay(world, life, id, port);
}

/** hccl: both sides get a link, under the ids that they have, whatever id the caller gave. */
function linkBoth(world: World, life: Life, givenId: number, port: number, locals: number): Status {
  if (!life.described && locals !== 1) return 'LLM_PARAM_INVALID';
  // Kept when the attempt fails. The acceptor makes none for itself.
  life.described = true;
  if (!world.listeners.has(port)) return 'LLM_LINK_FAILED';
  const peer = world.listeners.get(port);
  if (peer === undefined) return 'LLM_FAILED';
  if (!peer.described) return 'LLM_PARAM_INVALID';
  const mine = life.node.clusterId;
  const theirs = peer.node.clusterId;
  // The force bit: what is left of an earlier link goes, where the caller knows of none.
  if (!life.links.has(givenId)) {
    life.links.delete(theirs);
    peer.links.delete(mine);
  }
  if (life.links.has(theirs) || peer.links.has(mine)) return 'LLM_ALREADY_LINK';
  // One device cannot be both ends; the transport waits in vain.
  if (peer.device === life.device) return 'LLM_TIMEOUT';
  life.links.set(theirs, newLink(life, peer, port));
  peer.links.set(mine, newLink(peer, life, life.port ?? 0));
  return 'LLM_SUCCESS';
}

/** hixl: this side gets a link, under the id that the caller gave. */
function linkOneWay(world: World, life: Life, givenId: number, port: number): Status {
  if (port === life.port) return 'LLM_PARAM_INVALID';
  if (life.connected.has(port)) return 'LLM_ALREADY_LINK';
  const peer = world.listeners.get(port);
  if (peer === undefined) return 'LLM_FAILED';
  if (peer.device === life.device) return 'LLM_PARAM_INVALID';
  life.connected.add(port);
  life.links.set(givenId, newLink(life, peer, port));
  return 'LLM_SUCCESS';
}

function newLink(life: Life, peer: Life, port: number): LinkRecord {
  return { peer, port, bound: new Set([...life.pins, ...peer.pins]), table: undefined };
}

/** One cluster of an unlink call: specification 3.7, 4.5. */
export function unlinkOne(world: World, life: Life, { id, ports }: Cluster, force: boolean): Status {
  if (world.engine !== 'hccl') {
    const link = life.links.get(id);
    if (link !== undefined) life.connected.delete(link.port);
    life.links.delete(id);
    return 'LLM_SUCCESS';
  }
  if (!force) {
    const [port] = ports;
    if (port === undefined || ports.length !== 1) return 'LLM_PARAM_INVALID';
    if (!world.listeners.has(port)) return 'LLM_UNLINK_FAILED';
    const asked = world.listeners.get(port);
    if (asked === undefined) return 'LLM_FAILED';
    // Whoever listens there drops its link to the one who asks, be it the peer that was meant or not.
    asked.links.delete(life.node.clusterId);
  }
  life.links.delete(id);
  return 'LLM_SUCCESS';
}

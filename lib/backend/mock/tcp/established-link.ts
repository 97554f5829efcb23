import type { Identity } from '../peer';
import { failed } from '../refusal';
import type { Refusal } from '../refusal';
import type { Session } from '../session';
import type { Channel } from './channel';
import { RemoteEnd } from './remote-end';
import type { TimeLimit } from './time-limit';

/**
 * Whether a connection of an instance that says it is `peer` may take the place of the link to that cluster, or end it. A link
 * whose connection is open is its instance's alone: that instance is asked, over the link, whether the new connection is its
 * own. So an instance that has dropped its side can link anew, and no other one can displace it.
 *
 * @returns `undefined` at once where there is no such link
 */
export function refuseDisplacing(
  session: Session,
  peer: Identity,
  by: Channel,
  newLimit: () => TimeLimit,
): undefined | Promise<Refusal | undefined> {
  const end = establishedEnd(session, peer, by);
  return end === undefined ? undefined : vouched(session, peer, by, newLimit);
}

function establishedEnd({ links, engine }: Session, peer: Identity, by: Channel): RemoteEnd | undefined {
  // Links of hixl are found by the caller's ids and addresses, which no peer chooses.
  const end = engine === 'hccl' ? links.find(peer.clusterId)?.far : undefined;
  return end instanceof RemoteEnd && end.alive && !end.isOver(by) ? end : undefined;
}

async function vouched(
  session: Session,
  peer: Identity,
  by: Channel,
  newLimit: () => TimeLimit,
): Promise<Refusal | undefined> {
  const asked = new Set<RemoteEnd>();
  for (;;) {
    // Meanwhile another link may have been made.
    const end = establishedEnd(session, peer, by);
    if (end === undefined || asked.has(end)) return undefined;
    asked.add(end);
    if (!(await end.vouches(by.peer?.token ?? '', newLimit()))) return otherInstance(session, peer);
  }
}

function otherInstance(session: Session, peer: Identity): Refusal {
  return failed(
    `cluster ${session.clusterId} is linked to another instance that is cluster ${peer.clusterId}, and its connection is open: ` +
      'an id is to have one instance at a time',
    {
      remedy: 'Give each instance an id that no other one has; end the other instance if this one is to replace it.',
      recovery: 'fix-input',
    },
  );
}

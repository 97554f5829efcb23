import type { Identity } from '../peer';
import type { Refusal } from '../refusal';
import type { Session } from '../session';
import { lost } from './channel';
import type { Channel, Service } from './channel';
import { refuseDisplacing } from './established-link';
import { FrameError, FrameKind } from './frame';
import { readFlag, readGreeting, readNothing, writeIdentity, writeRefusal } from './messages';
import { RemoteEnd } from './remote-end';
import { ServedEnd } from './served-end';
import type { TimeLimit } from './time-limit';

/** What an {@link Acceptor} reports to the network about its connection. */
export interface Admission {
  /** The other side has said which instance it is. */
  greeted(): void;
  /** There is a link, or an unlink is under way: it may last. */
  settled(): void;
  /** It is over with what may last. */
  unsettled(): void;
  closed(): void;
  /** How long a peer that is asked about a connection may take. */
  newLimit(): TimeLimit;
}

/**
 * The side of a connection that was connected to: it says which instance it is, links when it is asked to, and serves then.
 * A connection makes one link, or one unlink, and waits for each answer before it goes on.
 */
export class Acceptor implements Service {
  readonly #channel: Channel;
  readonly #session: () => Session | undefined;
  readonly #admission: Admission;
  #peer: Identity | undefined;
  /** What was asked for already. */
  readonly #seen = new Set<FrameKind>();
  #isBusy = false;
  #prepared = false;
  #end: ServedEnd | undefined;

  /** @param session which one listens, if there is one */
  constructor(channel: Channel, session: () => Session | undefined, admission: Admission) {
    this.#channel = channel;
    this.#session = session;
    this.#admission = admission;
  }

  request(kind: FrameKind, id: number, payload: Buffer): void {
    const session = this.#session();
    if (session?.alive !== true) {
      this.#channel.destroy();
      return;
    }
    if (this.#peer === undefined) this.#greet(kind, id, payload, session);
    else if (this.#end === undefined) this.#link(kind, id, payload, session, this.#peer);
    else this.#end.request(kind, id, payload);
  }

  pushed(id: number, bytes: Buffer): number {
    if (this.#end === undefined) throw new FrameError('bytes before there is a link');
    return this.#end.pushed(id, bytes);
  }

  cancel(id: number): void {
    this.#end?.cancel(id);
  }

  cut(): void {
    this.#end?.cut();
  }

  closed(): void {
    this.#end?.closed();
    this.#admission.closed();
  }

  #greet(kind: FrameKind, id: number, payload: Buffer, session: Session): void {
    if (kind !== FrameKind.HELLO) throw new FrameError(`a connection that begins with a frame of kind ${kind}`);
    const { identity, token } = readGreeting(payload);
    this.#peer = identity;
    this.#channel.peer = { token, instance: identity.instance, clusterId: identity.clusterId };
    this.#channel.belongTo(session);
    this.#admission.greeted();
    this.#channel.send(FrameKind.ANSWER, id, writeIdentity(session.identity, this.#channel.token));
  }

  #link(kind: FrameKind, id: number, payload: Buffer, session: Session, peer: Identity): void {
    if (this.#channel.isBlocked) {
      this.#refuse(id, lost());
      return;
    }
    if (this.#isBusy) throw new FrameError('a request before the answer to the one before');
    if (this.#seen.has(kind)) throw new FrameError(`a second frame of kind ${kind}`);
    this.#seen.add(kind);
    switch (kind) {
      case FrameKind.PREPARE: {
        const forced = readFlag(payload);
        // Without force nothing is displaced: a link that there is refuses the new one.
        this.#admitted(id, session, forced ? peer : undefined, () => {
          this.#prepare(id, session, peer, forced);
        });
        return;
      }
      case FrameKind.COMMIT:
        readNothing(payload);
        if (peer.engine !== session.engine) throw new FrameError('a link between different transfer backends');
        if (session.engine === 'hccl' && !this.#prepared) throw new FrameError('a link that was not prepared');
        this.#admitted(id, session, peer, () => {
          this.#commit(id, session, peer);
        });
        return;
      case FrameKind.UNLINK:
        readNothing(payload);
        this.#admitted(id, session, peer, () => {
          this.#unlink(id, session, peer);
        });
        return;
      default:
        throw new FrameError(`an unexpected frame of kind ${kind}`);
    }
  }

  /** Goes on when no link of another instance is in the way; at once where there is none to `displaced`. */
  #admitted(id: number, session: Session, displaced: Identity | undefined, next: () => void): void {
    const checking = displaced && refuseDisplacing(session, displaced, this.#channel, () => this.#admission.newLimit());
    if (checking === undefined) {
      next();
      return;
    }
    this.#whenReady(session, checking, (refusal) => {
      if (refusal === undefined) next();
      else this.#refuse(id, refusal);
    });
  }

  #prepare(id: number, session: Session, peer: Identity, forced: boolean): void {
    const preparing = session.links.prepare(peer, forced);
    const answer = (refusal: Refusal | undefined): void => {
      this.#prepared = refusal === undefined;
      if (refusal === undefined) this.#channel.send(FrameKind.ANSWER, id);
      else this.#refuse(id, refusal);
    };
    if (preparing instanceof Promise) this.#whenReady(session, preparing, answer);
    else answer(preparing);
  }

  /** Goes on when the transfers have ended that the links of this side wait for. */
  #whenReady<T>(session: Session, waiting: Promise<T>, next: (result: T) => void): void {
    this.#isBusy = true;
    void waiting.then((result) => {
      this.#isBusy = false;
      if (this.#channel.alive && session.alive) next(result);
    });
  }

  #commit(id: number, session: Session, peer: Identity): void {
    if (session.engine !== 'hccl') this.#channel.releasePeer();
    this.#end = new ServedEnd(session, this.#channel);
    this.#admission.settled();
    const accepting = session.links.accept(peer, new RemoteEnd(session, this.#channel, peer.clusterId));
    const answer = (): void => {
      this.#channel.send(FrameKind.ANSWER, id);
    };
    if (accepting instanceof Promise) this.#whenReady(session, accepting, answer);
    else answer();
  }

  #unlink(id: number, session: Session, peer: Identity): void {
    this.#admission.settled();
    this.#whenReady(session, Promise.resolve(session.links.unlinkFor(peer.clusterId)), () => {
      this.#admission.unsettled();
      this.#channel.send(FrameKind.ANSWER, id);
    });
  }

  #refuse(id: number, refusal: Refusal): void {
    this.#channel.send(FrameKind.REFUSAL, id, writeRefusal(refusal));
  }
}

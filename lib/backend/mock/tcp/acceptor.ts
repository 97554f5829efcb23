import type { Identity } from '../peer';
import type { Session } from '../session';
import type { Channel, Service } from './channel';
import { FrameError, FrameKind } from './frame';
import { readFlag, readIdentity, writeIdentity, writeRefusal } from './messages';
import { RemoteEnd } from './remote-end';
import { ServedEnd } from './served-end';

/** Unlinks that wait for transfers; an instance asks once per connection. */
const MAX_UNLINKS = 1;

/** The side of a connection that was connected to: it says who it is, links when it is asked to, and serves then. */
export class Acceptor implements Service {
  readonly #channel: Channel;
  readonly #session: () => Session | undefined;
  readonly #greeted: () => void;
  #peer: Identity | undefined;
  #prepared = false;
  #unlinks = 0;
  #end: ServedEnd | undefined;

  /**
   * @param session who listens, if somebody does
   * @param greeted called when the other side has said who it is, and when it has gone
   */
  constructor(channel: Channel, session: () => Session | undefined, greeted: () => void) {
    this.#channel = channel;
    this.#session = session;
    this.#greeted = greeted;
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

  pushed(id: number, bytes: Buffer): void {
    if (this.#end === undefined) throw new FrameError('bytes before there is a link');
    this.#end.pushed(id, bytes);
  }

  cancel(id: number): void {
    this.#end?.cancel(id);
  }

  cut(): void {
    this.#end?.cut();
  }

  closed(): void {
    this.#end?.closed();
    this.#greeted();
  }

  #greet(kind: FrameKind, id: number, payload: Buffer, session: Session): void {
    if (kind !== FrameKind.HELLO) throw new FrameError(`a connection that begins with a frame of kind ${kind}`);
    this.#peer = readIdentity(payload);
    this.#channel.peer = this.#peer.clusterId;
    this.#channel.belongTo(session);
    this.#greeted();
    this.#channel.send(FrameKind.ANSWER, id, writeIdentity(session.identity));
  }

  #link(kind: FrameKind, id: number, payload: Buffer, session: Session, peer: Identity): void {
    switch (kind) {
      case FrameKind.PREPARE: {
        const refusal = session.prepare(peer, readFlag(payload));
        this.#prepared = refusal === undefined;
        if (refusal === undefined) this.#channel.send(FrameKind.ANSWER, id);
        else this.#channel.send(FrameKind.REFUSAL, id, writeRefusal(refusal));
        return;
      }
      case FrameKind.COMMIT:
        if (peer.engine !== session.engine) throw new FrameError('a link between different transfer backends');
        if (session.engine !== 'hccl') this.#channel.releasePeer();
        else if (!this.#prepared) throw new FrameError('a link that was not prepared');
        this.#end = new ServedEnd(session, this.#channel);
        this.#channel.send(FrameKind.ANSWER, id);
        session.links.accept(peer, new RemoteEnd(session, this.#channel, peer.clusterId));
        return;
      case FrameKind.UNLINK:
        this.#unlinks += 1;
        if (this.#unlinks > MAX_UNLINKS) throw new FrameError('a second unlink');
        void this.#unlink(id, session, peer);
        return;
      default:
        throw new FrameError(`an unexpected frame of kind ${kind}`);
    }
  }

  async #unlink(id: number, session: Session, peer: Identity): Promise<void> {
    await session.unlink(peer.clusterId);
    this.#channel.send(FrameKind.ANSWER, id);
  }
}

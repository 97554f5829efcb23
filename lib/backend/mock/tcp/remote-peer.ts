import { LLMStatusCode } from '../../../status';
import type { Identity, LinkEnd, Peer } from '../peer';
import { Refusal } from '../refusal';
import type { Session } from '../session';
import type { Channel } from './channel';
import { refuseDisplacing } from './established-link';
import { FrameKind } from './frame';
import { readGreeting, readNothing, writeFlag, writeIdentity } from './messages';
import { RemoteEnd } from './remote-end';
import { ServedEnd } from './served-end';
import type { TimeLimit } from './time-limit';

/** An instance of another process that this side has connected to. */
export class RemotePeer implements Peer {
  readonly #channel: Channel;
  readonly #session: Session;
  readonly #limit: TimeLimit;

  private constructor(
    channel: Channel,
    session: Session,
    limit: TimeLimit,
    readonly identity: Identity,
  ) {
    this.#channel = channel;
    this.#session = session;
    this.#limit = limit;
  }

  /** Learns which instance is there. @throws Refusal */
  static async greet(channel: Channel, from: Session, limit: TimeLimit): Promise<RemotePeer> {
    const payload = writeIdentity(from.identity, channel.token);
    const { identity, token } = await channel.ask({ kind: FrameKind.HELLO, payload, read: readGreeting }, limit);
    channel.peer = { token, instance: identity.instance };
    return new RemotePeer(channel, from, limit, identity);
  }

  async prepare(_from: Identity, forced: boolean): Promise<Refusal | undefined> {
    const theirs = await this.#askToPrepare(forced);
    // Without force a link that there is refuses the new one.
    const displacing = theirs === undefined && forced ? await this.#refuseDisplacing() : undefined;
    // Thrown, for this side must not prepare by dropping that link.
    if (displacing !== undefined) throw displacing;
    return theirs;
  }

  async commit(from: Session): Promise<LinkEnd> {
    // The peer may ask for something as soon as it has its side of the link.
    const serves = from.engine === 'hccl';
    if (serves) this.#channel.service = new ServedEnd(from, this.#channel);
    await this.#ask(FrameKind.COMMIT);
    const refusal = await this.#refuseDisplacing();
    if (refusal !== undefined) throw refusal;
    if (!serves) this.#channel.releasePeer();
    return new RemoteEnd(from, this.#channel, this.identity.clusterId);
  }

  async unlink(): Promise<void> {
    await this.#ask(FrameKind.UNLINK);
  }

  close(): void {
    this.#channel.destroy();
  }

  async #askToPrepare(forced: boolean): Promise<Refusal | undefined> {
    try {
      await this.#ask(FrameKind.PREPARE, writeFlag(forced));
      return undefined;
    } catch (error) {
      if (error instanceof Refusal && this.#channel.alive && error.statusCode !== LLMStatusCode.LLM_TIMEOUT)
        return error;
      throw error;
    }
  }

  #ask(kind: FrameKind, payload?: Buffer): Promise<void> {
    return this.#channel.ask({ kind, read: readNothing, ...(payload === undefined ? {} : { payload }) }, this.#limit);
  }

  /** Whether what listens there says it is an instance to which there is a link over another connection. */
  async #refuseDisplacing(): Promise<Refusal | undefined> {
    return refuseDisplacing(this.#session, this.identity, this.#channel, () => this.#limit);
  }
}

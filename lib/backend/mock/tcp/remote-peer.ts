import { LLMStatusCode } from '../../../status';
import type { Identity, LinkEnd, Peer } from '../peer';
import { Refusal } from '../refusal';
import type { Session } from '../session';
import type { Channel } from './channel';
import { FrameKind } from './frame';
import { readIdentity, readNothing, writeFlag, writeIdentity } from './messages';
import { RemoteEnd } from './remote-end';
import { ServedEnd } from './served-end';
import type { TimeLimit } from './time-limit';

/** An instance of another process that this side has connected to. */
export class RemotePeer implements Peer {
  readonly #channel: Channel;
  readonly #limit: TimeLimit;

  private constructor(
    channel: Channel,
    limit: TimeLimit,
    readonly identity: Identity,
  ) {
    this.#channel = channel;
    this.#limit = limit;
  }

  /** Learns who is there. @throws Refusal */
  static async greet(channel: Channel, from: Session, limit: TimeLimit): Promise<RemotePeer> {
    const hello = { kind: FrameKind.HELLO, payload: writeIdentity(from.identity) };
    const identity = await channel.ask(hello, limit, readIdentity);
    channel.peer = identity.clusterId;
    return new RemotePeer(channel, limit, identity);
  }

  async prepare(_from: Identity, forced: boolean): Promise<Refusal | undefined> {
    try {
      await this.#channel.ask({ kind: FrameKind.PREPARE, payload: writeFlag(forced) }, this.#limit, readNothing);
      return undefined;
    } catch (error) {
      if (error instanceof Refusal && this.#channel.alive && error.statusCode !== LLMStatusCode.LLM_TIMEOUT)
        return error;
      throw error;
    }
  }

  async commit(from: Session): Promise<LinkEnd> {
    // The peer may ask for something as soon as it has its side of the link.
    const serves = from.engine === 'hccl';
    if (serves) this.#channel.service = new ServedEnd(from, this.#channel);
    await this.#channel.ask({ kind: FrameKind.COMMIT }, this.#limit, readNothing);
    if (!serves) this.#channel.releasePeer();
    return new RemoteEnd(from, this.#channel, this.identity.clusterId);
  }

  async unlink(): Promise<void> {
    await this.#channel.ask({ kind: FrameKind.UNLINK }, this.#limit, readNothing);
  }

  close(): void {
    this.#channel.destroy();
  }
}

import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { Deadline } from '../../../deadline';
import { LLMStatusCode } from '../../../status';
import { failed, Refusal } from '../refusal';
import type { OpenConnection, Session, Traffic } from '../session';
import type { Asked, Exchange, Request } from './exchanges';
import { Exchanges } from './exchanges';
import { FRAME_VERSION, FrameError, FrameKind, VersionError, writeHeader } from './frame';
import type { FrameTarget } from './frame-decoder';
import { FrameDecoder } from './frame-decoder';
import { readRefusal, writeRefusal } from './messages';
import { isLoopback } from './loopback';
import type { OutgoingFrames } from './outbox';
import { Outbox } from './outbox';
import type { TimeLimit } from './time-limit';
import { pieceWork, TurnBudget } from './turn-budget';
import { Watchdog } from './watchdog';

/** Does what the other side asks for. What it throws ends the connection. */
export interface Service {
  request(kind: FrameKind, id: number, payload: Buffer): void;
  /** @returns how many of the bytes were taken, at least one */
  pushed(id: number, bytes: Buffer): number;
  cancel(id: number): void;
  /** Nothing passes any more: what was begun is not gone on with. */
  cut(): void;
  closed(): void;
}

/** A request of one frame. */
export interface FrameRequest<T> extends Request<T> {
  readonly kind: FrameKind;
  readonly payload?: Buffer;
}

/** A request whose frames are made when they can be sent, under the number that it gets. */
export interface StreamRequest<T> extends Request<T> {
  /** Its time; the caller sees that it is kept. */
  readonly limit: TimeLimit;
  frames(id: number): OutgoingFrames;
}

export interface ChannelLimits {
  /** How long a frame that has begun may take, in milliseconds. */
  readonly frameMs: number;
  /** How long what is sent may wait without any of it being taken, in milliseconds. */
  readonly unreadMs: number;
  /** By how much a peer may take longer than the calls allow. */
  readonly patience: number;
}

/** A host that died without a word is noticed after this, and the ten probes that libuv sends, one a second. */
const KEEP_ALIVE_MS = 30_000;

const TOKEN_BYTES = 16;
const NOTHING: Buffer = Buffer.alloc(0);

/**
 * A connection to an instance of another process, from either side. It serves both directions, because the side that
 * connected may not listen, and ends when both sides have released it or one of them is gone.
 *
 * While the other side does not read its answers, or asks for more than one turn of the event loop can do, nothing is read
 * from it. It keeps no process alive: a call of this side that waits does so by its time limit.
 */
export class Channel implements FrameTarget, OpenConnection {
  /** Which side is there; known from the first exchange on. */
  service: Service | undefined;
  /** Known to the other side of this connection and to no one else. */
  readonly token = randomBytes(TOKEN_BYTES).toString('base64url');
  /** What the other side has said of itself: the token of the connection there, and which instance it is. */
  peer: { readonly token: string; readonly instance: string; readonly clusterId: bigint } | undefined;
  /** What the work for the other side counts against. */
  readonly budget = new TurnBudget(() => {
    this.#outbox.flush();
    this.#goOn();
  });
  readonly #socket: Socket;
  readonly #decoder = new FrameDecoder(this, (work) => {
    this.budget.spend(work);
  });
  readonly #outbox: Outbox;
  readonly #exchanges = new Exchanges();
  readonly #frameWatch: Watchdog;
  readonly #unreadWatch: Watchdog;
  #session: Session | undefined;
  #alive = true;
  #released = false;
  #peerReleased = false;
  /** What was received and not looked at. */
  #rest = NOTHING;
  #isHeld = false;
  #isReading = false;

  constructor(
    socket: Socket,
    readonly limits: ChannelLimits,
    /** What a call ends with when the other side is not there any more. */
    public gone: () => Refusal,
  ) {
    this.#socket = socket;
    this.#outbox = new Outbox(socket, this.budget, () => {
      this.#goOn();
    });
    this.#frameWatch = new Watchdog(limits.frameMs, this.#frameProgress, this.#expire);
    this.#unreadWatch = new Watchdog(limits.unreadMs, () => this.#outbox.progress, this.#expire);
    socket.unref();
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.on('data', (chunk) => {
      this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
      this.#read(true);
    });
    socket.on('end', this.#expire);
    // 'close' follows, and what went wrong makes no difference to those that wait.
    socket.on('error', () => undefined);
    socket.on('close', this.#expire);
  }

  /** False once the other side, or this one, has gone. */
  get alive(): boolean {
    return this.#alive;
  }

  /** Whether both ends are on one host, and so share its clock. */
  get isLocal(): boolean {
    const { localAddress, remoteAddress } = this.#socket;
    return remoteAddress !== undefined && (isLoopback(remoteAddress) || localAddress === remoteAddress);
  }

  /** Ends with the session. */
  belongTo(session: Session): void {
    this.#session = session;
    session.connections.add(this);
  }

  /**
   * Asks for something. At a peer that leaves too much unanswered it waits for that first.
   * @throws Refusal what the other side refuses with, or that it is gone, or too late
   */
  async ask<T>(request: FrameRequest<T>, limit: TimeLimit): Promise<T> {
    if (!this.#alive || this.#exchanges.isFull) await this.untilAskable(limit);
    if (this.#isCut) return timeOut(limit);
    const { id, answer } = this.#exchanges.begin(this.#exchanges.nextId(), request, limit);
    const deadline = new Deadline(
      limit.left,
      () => limit.left,
      () => {
        this.giveUp(id, limit.refusal());
      },
    );
    this.send(request.kind, id, request.payload);
    try {
      return await answer;
    } finally {
      deadline.end();
    }
  }

  /** Resolves when one more request may be made. @throws Refusal as {@link ask} */
  async untilAskable(limit: TimeLimit): Promise<void> {
    while (this.#alive && this.#exchanges.isFull) await this.#exchanges.untilAnswered(limit);
    if (!this.#alive) throw this.gone();
  }

  /** Asks for something by frames that follow each other as the other side takes them. The caller limits the time. */
  stream<T>(request: StreamRequest<T>): Asked<T> {
    const id = this.#exchanges.nextId();
    const frames = request.frames(id);
    const asked = this.#exchanges.begin(id, request, request.limit, frames);
    if (this.#alive && this.#isCut) this.#lose(id);
    else if (this.#alive) {
      this.#outbox.sendWrite(frames);
      this.#unreadWatch.watch();
    } else this.giveUp(id, this.gone());
    return asked;
  }

  /** Ends a request of this side: whatever comes of it now is not looked at. */
  giveUp(id: number, refusal: Refusal): void {
    this.#forget(id)?.refuse(refusal);
  }

  /** Something may be between the two ends now: what is under way is lost, and is waited for in vain. */
  obstruct(): void {
    if (this.isBlocked) this.service?.cut();
    if (!this.#isCut) return;
    for (const id of this.#exchanges.waitedFor) this.#lose(id);
  }

  /** Whether a test has put something in the way of requests of the other side. */
  get isBlocked(): boolean {
    const session = this.#session;
    if (session === undefined || this.peer === undefined) return false;
    return session.fabric.obstacles?.blocks?.(this.peer.clusterId, session.clusterId) === true;
  }

  /** What has gone over it, for those that wait until nothing is on its way any more. */
  get traffic(): Traffic {
    const { localAddress, localPort, remoteAddress, remotePort } = this.#socket;
    const ends = [`${localAddress}:${localPort}`, `${remoteAddress}:${remotePort}`];
    return {
      name: ends.sort().join(' '),
      sent: this.#outbox.handedOver,
      received: this.#decoder.finished,
      isSending: this.#outbox.isBusy,
    };
  }

  send(kind: FrameKind, id: number, payload?: Buffer): void {
    if (!this.#alive) return;
    this.#outbox.send({ kind, id, payload });
    this.#unreadWatch.watch();
  }

  /** Answers a request by frames that follow each other as the other side reads them. */
  sendRead(frames: OutgoingFrames): void {
    if (!this.#alive) return;
    this.#outbox.sendRead(frames);
    this.#unreadWatch.watch();
  }

  drop(frames: OutgoingFrames): void {
    this.#outbox.drop(frames);
  }

  /** This side uses the link no more. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.send(FrameKind.RELEASE, 0);
    this.#endWhenReleased();
  }

  /** The other side has no link, or had one and uses it no more. */
  releasePeer(): void {
    this.#peerReleased = true;
    this.#endWhenReleased();
  }

  destroy(): void {
    if (!this.#alive) return;
    this.#socket.destroy();
    this.#end();
  }

  takeFrame(kind: FrameKind, id: number, payload: Buffer): void {
    switch (kind) {
      case FrameKind.ANSWER:
        // An answer that cannot be read ends the connection, and with it the exchange.
        this.#settle(id, (exchange) => {
          exchange.answer(payload);
        });
        return;
      case FrameKind.REFUSAL:
        this.#settle(id, (exchange) => {
          const refusal = readRefusal(payload);
          if (refusal.statusCode === LLMStatusCode.LLM_TIMEOUT) passTime(exchange);
          else exchange.refuse(refusal);
        });
        return;
      case FrameKind.CANCEL:
        this.service?.cancel(id);
        return;
      case FrameKind.RELEASE:
        this.releasePeer();
        return;
      default:
        if (this.service === undefined) throw new FrameError('a request to a side that serves none');
        this.service.request(kind, id, payload);
    }
  }

  takeBytes(kind: FrameKind, id: number, bytes: Buffer): number {
    if (kind === FrameKind.PUSHED) {
      if (this.service === undefined) throw new FrameError('bytes to a side that serves nothing');
      return this.service.pushed(id, bytes);
    }
    const exchange = this.#exchanges.find(id);
    if (exchange === undefined) return this.discard(bytes);
    if (exchange.pulled === undefined) throw new FrameError('bytes that were not asked for');
    try {
      return exchange.pulled(bytes);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.giveUp(id, error);
      return this.discard(bytes);
    }
  }

  /** Bytes that have no place to go to any more cost what others do. @returns how many */
  discard(bytes: Buffer): number {
    this.budget.spend(pieceWork(bytes.length));
    return bytes.length;
  }

  /** And in the way of those of this side. */
  get #isCut(): boolean {
    const session = this.#session;
    if (session === undefined || this.peer === undefined) return false;
    return session.fabric.obstacles?.between(session.clusterId, this.peer.clusterId) === true;
  }

  /** Nothing comes back of a request: it ends when its time is over. */
  #lose(id: number): void {
    const exchange = this.#forget(id);
    if (exchange !== undefined) passTime(exchange);
  }

  /** Looks at nothing any more that comes of a request of this side. */
  #forget(id: number): Exchange | undefined {
    const isSent = ({ frames }: Exchange): boolean => frames?.begun !== false;
    const exchange = this.#exchanges.giveUp(id, isSent);
    if (exchange === undefined) return undefined;
    if (exchange.frames !== undefined) this.#outbox.drop(exchange.frames);
    if (isSent(exchange)) this.send(FrameKind.CANCEL, id);
    return exchange;
  }

  #settle(id: number, settle: (exchange: Exchange) => void): void {
    const exchange = this.#exchanges.find(id);
    if (exchange !== undefined) {
      // A peer may answer before it has all that belongs to the request.
      if (exchange.frames !== undefined) this.#outbox.drop(exchange.frames);
      settle(exchange);
    }
    this.#exchanges.answered(id);
  }

  /** @param isBorrowed whether what was received is in memory that the next bytes will be written to */
  #read(isBorrowed: boolean): void {
    this.#isReading = true;
    try {
      this.#rest = this.#decoder.take(this.#rest, () => !this.#alive || this.#mustWait());
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      if (error instanceof VersionError) this.#refuseVersion(error);
      else this.destroy();
    } finally {
      this.#isReading = false;
    }
    if (!this.#alive) {
      this.#rest = NOTHING;
      return;
    }
    if (isBorrowed && this.#rest.length > 0) this.#rest = Buffer.from(this.#rest);
    this.#frameWatch.watch();
    const mustWait = this.#mustWait();
    if (mustWait === this.#isHeld) return;
    this.#isHeld = mustWait;
    if (mustWait) this.#socket.pause();
    else this.#socket.resume();
  }

  /** Reads on, where that had to wait and need not any more. */
  #goOn(): void {
    if (this.#isHeld && !this.#isReading && this.#alive && !this.#mustWait()) this.#read(false);
  }

  readonly #mustWait = (): boolean => this.budget.isSpent || this.#outbox.isFull;

  readonly #frameProgress = (): number | undefined =>
    this.#decoder.isInside && !this.#isHeld ? this.#decoder.finished : undefined;

  readonly #expire = (): void => {
    this.destroy();
  };

  /** In frames of the other side's version, so that it can say why. */
  #refuseVersion({ version, id }: VersionError): void {
    const reason =
      `the peer uses version ${FRAME_VERSION} of the mock's protocol, this side version ${version}: ` +
      'use one version of llm-datadist in all processes';
    const payload = writeRefusal(failed(reason));
    this.#end();
    this.#socket.end(Buffer.concat([writeHeader(FrameKind.REFUSAL, id, payload.length, version), payload]));
    this.#socket.destroySoon();
  }

  #end(): void {
    this.#alive = false;
    this.#frameWatch.stop();
    this.#unreadWatch.stop();
    this.#outbox.clear();
    this.#session?.connections.delete(this);
    this.#exchanges.clear(this.gone);
    this.service?.closed();
  }

  #endWhenReleased(): void {
    if (this.#released && this.#peerReleased) this.#socket.end();
  }
}

/** What answers a request that a test keeps from being served: the other side waits until its time is over. */
export function lost(): Refusal {
  return new Refusal(LLMStatusCode.LLM_TIMEOUT, 'something is in the way');
}

function passTime({ limit, refuse }: Exchange): void {
  timeOut(limit).catch(refuse);
}

/** The end of a request that gets no answer. */
async function timeOut(limit: TimeLimit): Promise<never> {
  await limit.passOnClock();
  throw limit.refusal();
}

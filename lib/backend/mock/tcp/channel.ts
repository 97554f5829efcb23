import type { Socket } from 'node:net';
import { Deadline } from '../../../deadline';
import { Refusal } from '../refusal';
import type { OpenConnection, Session, Traffic } from '../session';
import { FrameError, FrameKind, writeHeader } from './frame';
import type { FrameTarget } from './frame-decoder';
import { FrameDecoder } from './frame-decoder';
import { readRefusal } from './messages';
import { isLoopback } from './loopback';
import type { Spread } from './spread';
import type { TimeLimit } from './time-limit';

/** Who does what the other side asks for. What it throws ends the connection. */
export interface Service {
  request(kind: FrameKind, id: number, payload: Buffer): void;
  pushed(id: number, bytes: Buffer): void;
  cancel(id: number): void;
  /** Nothing passes any more: what was begun is not gone on with. */
  cut(): void;
  closed(): void;
}

/** What becomes of a request of this side, besides its answer. */
export interface Progress {
  pulled?(bytes: Buffer): void;
  ready?(id: number): void;
}

/** What is asked for. */
export interface Request {
  readonly kind: FrameKind;
  readonly payload?: Buffer;
}

interface Exchange {
  readonly progress: Progress;
  answer(payload: Buffer): void;
  refuse(refusal: Refusal): void;
  /** Ends it when its time is over on the clock of the instance. */
  letPass(): void;
}

export interface ChannelLimits {
  /** How long a frame that has begun may take, in milliseconds. */
  readonly frameMs: number;
  /** By how much a peer may take longer than the calls allow. */
  readonly patience: number;
}

/** Answers that a peer lets lie: who does not read does not want them. */
const MAX_WAITING = 16 * 2 ** 20;

/**
 * A connection to an instance of another process, from either side. It serves both directions, because who connected may
 * not listen, and ends when both sides have released it or one of them is gone.
 *
 * It keeps no process alive: a call of this side that waits does so by its time limit.
 */
export class Channel implements FrameTarget, OpenConnection {
  /** Who is there; known from the first exchange on. */
  service: Service | undefined;
  /** The cluster at the other end, once it has said which one it is. */
  peer: bigint | undefined;
  readonly #socket: Socket;
  readonly #decoder = new FrameDecoder(this);
  readonly #exchanges = new Map<number, Exchange>();
  #session: Session | undefined;
  #lastId = 0;
  #sent = 0;
  #highestId = 0;
  #alive = true;
  #released = false;
  #peerReleased = false;
  #slowFrame: NodeJS.Timeout | undefined;

  constructor(
    socket: Socket,
    readonly limits: ChannelLimits,
    /** What a call ends with when the other side is not there any more. */
    public gone: () => Refusal,
  ) {
    this.#socket = socket;
    socket.unref();
    socket.setNoDelay(true);
    socket.on('data', (chunk) => {
      this.#take(chunk);
    });
    socket.on('end', () => {
      this.destroy();
    });
    // 'close' follows, and what went wrong makes no difference to anybody who waits.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.destroy();
    });
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

  /** What has gone over it, for those who wait until nothing is on its way any more. */
  get traffic(): Traffic {
    const { localAddress, localPort, remoteAddress, remotePort } = this.#socket;
    const ends = [`${localAddress}:${localPort}`, `${remoteAddress}:${remotePort}`];
    return {
      name: ends.sort().join(' '),
      sent: this.#sent,
      received: this.#decoder.finished,
      isSending: this.#socket.writableLength > 0,
    };
  }

  /** Ends with the session. */
  belongTo(session: Session): void {
    this.#session = session;
    session.connections.add(this);
  }

  /**
   * Asks for something.
   * @param read makes the result of the answer, which is there during the call only
   * @throws Refusal what the other side refuses with, or that it is gone, or too late
   */
  ask<T>(request: Request, limit: TimeLimit, read: (answer: Buffer) => T, progress: Progress = {}): Promise<T> {
    if (!this.#alive) return Promise.reject(this.gone());
    if (this.#isCut) return timeOut(limit);
    const id = (this.#lastId % 0xffff_ffff) + 1;
    this.#lastId = id;
    this.#highestId = Math.max(this.#highestId, id);
    return new Promise((resolve, reject) => {
      const deadline = new Deadline(
        limit.left,
        () => limit.left,
        () => {
          this.giveUp(id, limit.refusal());
        },
      );
      this.#exchanges.set(id, {
        progress,
        answer: (answer) => {
          const result = read(answer);
          deadline.end();
          resolve(result);
        },
        refuse: (refusal) => {
          deadline.end();
          reject(refusal);
        },
        letPass: () => {
          deadline.end();
          timeOut<T>(limit).then(resolve, reject);
        },
      });
      this.send(request.kind, id, request.payload);
    });
  }

  /** Ends a request of this side: whatever comes of it now is not looked at. */
  giveUp(id: number, refusal: Refusal): void {
    const exchange = this.#exchanges.get(id);
    if (exchange === undefined) return;
    this.#exchanges.delete(id);
    this.send(FrameKind.CANCEL, id);
    exchange.refuse(refusal);
  }

  /** Something may be between the two ends now: what is under way is lost, and is waited for in vain. */
  obstruct(): void {
    if (this.#isBlocked) this.service?.cut();
    if (!this.#isCut) return;
    for (const [id, exchange] of [...this.#exchanges]) {
      this.#exchanges.delete(id);
      this.send(FrameKind.CANCEL, id);
      exchange.letPass();
    }
  }

  isWaiting(id: number): boolean {
    return this.#exchanges.has(id);
  }

  send(kind: FrameKind, id: number, payload?: Buffer): void {
    if (!this.#alive) return;
    if (this.#socket.writableLength > MAX_WAITING) {
      this.destroy();
      return;
    }
    this.#sent += 1;
    this.#socket.cork();
    this.#socket.write(writeHeader(kind, id, payload?.length ?? 0));
    if (payload !== undefined && payload.length > 0) this.#socket.write(payload);
    this.#socket.uncork();
  }

  /**
   * Sends bytes as fast as the other side takes them: never more than two frames wait to be sent.
   * @param isWanted asked before each frame
   * @throws Refusal when the memory was freed
   */
  async stream(kind: FrameKind, id: number, bytes: Spread, isWanted: () => boolean): Promise<void> {
    let sent: Promise<void> = Promise.resolve();
    while (bytes.left > 0 && this.#alive && isWanted()) {
      const sending = this.#sendBytes(kind, id, bytes.nextFrame());
      await sent;
      sent = sending;
    }
    await sent;
  }

  /** This side uses the link no more. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.send(FrameKind.RELEASE, 0);
    this.#endWhenReleased();
  }

  /** The other side has no link of its own, or had one and uses it no more. */
  releasePeer(): void {
    this.#peerReleased = true;
    this.#endWhenReleased();
  }

  destroy(): void {
    if (!this.#alive) return;
    this.#alive = false;
    clearTimeout(this.#slowFrame);
    this.#socket.destroy();
    this.#session?.connections.delete(this);
    for (const exchange of this.#exchanges.values()) exchange.refuse(this.gone());
    this.#exchanges.clear();
    this.service?.closed();
  }

  takeFrame(kind: FrameKind, id: number, payload: Buffer): void {
    // What came together with the frame that ended the connection.
    if (!this.#alive) return;
    switch (kind) {
      case FrameKind.ANSWER:
        this.#settle(id, (exchange) => {
          exchange.answer(payload);
        });
        return;
      case FrameKind.REFUSAL: {
        const refusal = readRefusal(payload);
        this.#settle(id, (exchange) => {
          exchange.refuse(refusal);
        });
        return;
      }
      case FrameKind.READY:
        this.#exchangeOf(id)?.progress.ready?.(id);
        return;
      case FrameKind.CANCEL:
        this.service?.cancel(id);
        return;
      case FrameKind.RELEASE:
        this.releasePeer();
        return;
      default:
        if (this.service === undefined) throw new FrameError('a request to nobody');
        if (this.#isBlocked) return;
        this.service.request(kind, id, payload);
    }
  }

  takeBytes(kind: FrameKind, id: number, bytes: Buffer): void {
    if (!this.#alive) return;
    if (kind === FrameKind.PUSHED) {
      this.service?.pushed(id, bytes);
      return;
    }
    const exchange = this.#exchangeOf(id);
    if (exchange === undefined) return;
    if (exchange.progress.pulled === undefined) throw new FrameError('bytes that were not asked for');
    try {
      exchange.progress.pulled(bytes);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.giveUp(id, error);
    }
  }

  /** Whether a test has put something in the way of requests of this side. */
  get #isCut(): boolean {
    const session = this.#session;
    if (session === undefined || this.peer === undefined) return false;
    return session.fabric.obstacles?.between(session.clusterId, this.peer) === true;
  }

  /** And in the way of those of the other side. */
  get #isBlocked(): boolean {
    const session = this.#session;
    if (session === undefined || this.peer === undefined) return false;
    return session.fabric.obstacles?.blocks?.(this.peer, session.clusterId) === true;
  }

  #settle(id: number, settle: (exchange: Exchange) => void): void {
    const exchange = this.#exchangeOf(id);
    if (exchange === undefined) return;
    // An answer that cannot be read ends the connection, and with it the exchange.
    settle(exchange);
    this.#exchanges.delete(id);
  }

  /** `undefined` for one that was given up. */
  #exchangeOf(id: number): Exchange | undefined {
    if (id === 0 || id > this.#highestId) throw new FrameError(`an answer to request ${id}, which was never made`);
    return this.#exchanges.get(id);
  }

  #sendBytes(kind: FrameKind, id: number, bytes: Uint8Array): Promise<void> {
    this.#sent += 1;
    return new Promise((resolve) => {
      this.#socket.cork();
      this.#socket.write(writeHeader(kind, id, bytes.length));
      // Called with an error as well when the socket is destroyed, which whoever waits is told otherwise.
      this.#socket.write(bytes, () => {
        resolve();
      });
      this.#socket.uncork();
    });
  }

  #take(chunk: Buffer): void {
    try {
      this.#decoder.take(chunk);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.destroy();
      return;
    }
    if (this.#decoder.isInside && this.#alive) this.#watchFrame();
  }

  /** One timer for many frames: it looks twice at the one that it finds. */
  #watchFrame(): void {
    if (this.#slowFrame !== undefined) return;
    const { finished } = this.#decoder;
    let looked = false;
    const timer = setInterval(() => {
      if (!this.#decoder.isInside || this.#decoder.finished !== finished) {
        clearInterval(timer);
        this.#slowFrame = undefined;
        if (this.#decoder.isInside) this.#watchFrame();
      } else if (looked) this.destroy();
      // After a pause of this process the rest may have arrived and not been read: it gets another turn.
      else looked = true;
    }, this.limits.frameMs / 2);
    this.#slowFrame = timer.unref();
  }

  #endWhenReleased(): void {
    if (this.#released && this.#peerReleased) this.#socket.end();
  }
}

/** What becomes of a request that nothing comes back of. */
async function timeOut<T>(limit: TimeLimit): Promise<T> {
  await limit.passOnClock();
  throw limit.refusal();
}

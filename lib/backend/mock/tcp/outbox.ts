import type { Socket } from 'node:net';
import type { FrameKind } from './frame';
import { writeHeader } from './frame';
import type { TurnBudget } from './turn-budget';
import { FRAME_WORK, pieceWork } from './turn-budget';

/** A frame that is ready to be sent. */
export interface OutgoingFrame {
  readonly kind: FrameKind;
  readonly id: number;
  readonly payload?: Uint8Array | undefined;
}

/** Frames that are made one by one, each when the socket takes it. */
export interface OutgoingFrames {
  /** Whether the first one was made. */
  readonly begun: boolean;
  /** `undefined` when there are no more. */
  next(): OutgoingFrame | undefined;
}

/** As long as the socket holds fewer bytes than these, more is made for it: up to two of the largest frames wait. */
const WATER_MARK = 2 ** 20;

/**
 * Answers that wait. A peer of ours has a few dozen requests unanswered at most, see `MAX_UNANSWERED` of the channel: one that
 * asks for more does not read its answers.
 */
const MAX_WAITING = 256;

/** Each costs more than its bytes when these are few: frames that come while this number are unfinished are sent together. */
const MAX_WRITES = 8;

/** Below this a payload is copied behind its header. */
const SMALL = 4096;

/**
 * What waits to be sent over a connection. Nothing is made before the socket takes it, so that a peer that does not read costs
 * no more than {@link WATER_MARK}, one frame, and a list of {@link MAX_WAITING} small answers.
 */
export class Outbox {
  readonly #socket: Socket;
  readonly #budget: TurnBudget;
  readonly #roomAgain: () => void;
  /** Requests and answers, as buffers of which each begins or goes on with a frame. */
  #frames: Uint8Array[][] = [];
  /** Transfers that the peer reads. They take turns. */
  readonly #reads: OutgoingFrames[] = [];
  /** Transfers to the peer, one after the other: it takes them in order. */
  readonly #writes: OutgoingFrames[] = [];
  #isTurnOfReads = false;
  #isSending = false;
  #wasFull = false;
  /** Writes to the socket, and those of them that it has finished. */
  #written = 0;
  #handedOver = 0;
  #sent = 0;

  /** @param roomAgain called when an outbox that was full is so no more */
  constructor(socket: Socket, budget: TurnBudget, roomAgain: () => void) {
    this.#socket = socket;
    this.#budget = budget;
    this.#roomAgain = roomAgain;
  }

  /** Whether so much waits that nothing more is to be answered. */
  get isFull(): boolean {
    return this.#frames.length >= MAX_WAITING;
  }

  /** Frames that were handed over so far. */
  get handedOver(): number {
    return this.#handedOver;
  }

  /** Whether some of them, or a transfer, have not left the process. */
  get isBusy(): boolean {
    return this.#frames.length + this.#reads.length + this.#writes.length + this.#socket.writableLength > 0;
  }

  /** Counts what the other side, or the kernel for it, has taken; `undefined` while nothing waits. */
  get progress(): number | undefined {
    return this.#socket.writableLength > 0 ? this.#sent : undefined;
  }

  send(frame: OutgoingFrame): void {
    this.#handedOver += 1;
    this.#budget.spend(FRAME_WORK + pieceWork(frame.payload?.byteLength ?? 0));
    this.#frames.push(buffersOf(frame));
    if (this.isFull) this.#wasFull = true;
    this.flush();
  }

  /** Frames that the other side asked for. */
  sendRead(frames: OutgoingFrames): void {
    this.#reads.push(frames);
    this.flush();
  }

  /** Frames that follow those that were given before. */
  sendWrite(frames: OutgoingFrames): void {
    this.#writes.push(frames);
    this.flush();
  }

  /** These frames are not wanted any more. */
  drop(frames: OutgoingFrames): void {
    remove(this.#reads, frames);
    remove(this.#writes, frames);
  }

  clear(): void {
    this.#frames = [];
    this.#reads.length = 0;
    this.#writes.length = 0;
  }

  /** Sends what the socket takes, as far as this turn of the event loop allows. */
  flush(): void {
    // What is made may settle a call, which sends more.
    if (this.#isSending) return;
    this.#isSending = true;
    while (this.#takesMore) {
      if (this.#frames.length > 0) this.#sendFrames();
      else if (this.#budget.isSpent || !this.#sendTransfer()) break;
    }
    this.#isSending = false;
    if (!this.#wasFull || this.isFull) return;
    this.#wasFull = false;
    this.#roomAgain();
  }

  get #takesMore(): boolean {
    const { writable, writableLength } = this.#socket;
    return writable && writableLength < WATER_MARK && this.#written - this.#sent < MAX_WRITES;
  }

  #sendFrames(): void {
    const buffers: Uint8Array[] = [];
    let frames = 0;
    for (let bytes = 0; frames < this.#frames.length && bytes < WATER_MARK; frames++) {
      for (const buffer of this.#frames[frames] ?? []) {
        buffers.push(buffer);
        bytes += buffer.byteLength;
      }
    }
    if (frames === this.#frames.length) this.#frames = [];
    else this.#frames.splice(0, frames);
    this.#write(buffers);
  }

  /** @returns whether there was one, or one less */
  #sendTransfer(): boolean {
    this.#isTurnOfReads = !this.#isTurnOfReads;
    const queue =
      this.#writes.length === 0 || (this.#isTurnOfReads && this.#reads.length > 0) ? this.#reads : this.#writes;
    const [frames] = queue;
    if (frames === undefined) return false;
    const frame = frames.next();
    // Making it may have failed, and removed the transfer.
    if (frame === undefined) remove(queue, frames);
    else {
      if (queue === this.#reads && queue[0] === frames && queue.length > 1) {
        queue.shift();
        queue.push(frames);
      }
      this.#handedOver += 1;
      this.#write(buffersOf(frame));
    }
    return true;
  }

  #write(buffers: readonly Uint8Array[]): void {
    this.#written += 1;
    const last = buffers.length - 1;
    if (last > 0) this.#socket.cork();
    for (const [i, buffer] of buffers.entries()) {
      if (i === last) this.#socket.write(buffer, this.#onSent);
      else this.#socket.write(buffer);
    }
    if (last > 0) this.#socket.uncork();
  }

  /** Called with an error as well when the socket is destroyed; then there is nothing to go on with. */
  readonly #onSent = (): void => {
    this.#sent += 1;
    this.flush();
  };
}

function buffersOf({ kind, id, payload }: OutgoingFrame): Uint8Array[] {
  const header = writeHeader(kind, id, payload?.byteLength ?? 0);
  if (payload === undefined || payload.byteLength === 0) return [header];
  return payload.byteLength <= SMALL ? [Buffer.concat([header, payload])] : [header, payload];
}

function remove(queue: OutgoingFrames[], frames: OutgoingFrames): void {
  const index = queue.indexOf(frames);
  if (index >= 0) queue.splice(index, 1);
}

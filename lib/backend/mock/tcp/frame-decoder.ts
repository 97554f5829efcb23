import type { FrameHeader, FrameKind } from './frame';
import { HEADER_BYTES, isBytes, readHeader } from './frame';
import { FRAME_WORK, fieldsWork } from './turn-budget';

/** Who takes what a {@link FrameDecoder} finds. */
export interface FrameTarget {
  /** A whole frame. The payload is valid during the call only. */
  takeFrame(kind: FrameKind, id: number, payload: Buffer): void;
  /**
   * Bytes of a transfer, at least one, as they come; valid during the call only.
   * @returns how many of them were taken, at least one
   */
  takeBytes(kind: FrameKind, id: number, bytes: Buffer): number;
}

const NOTHING: Buffer = Buffer.alloc(0);

/** Makes frames of the pieces in which a socket delivers them. */
export class FrameDecoder {
  readonly #target: FrameTarget;
  readonly #spend: (work: number) => void;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerLength = 0;
  #frame: FrameHeader | undefined;
  /** What is still to come of the payload. */
  #missing = 0;
  /** A payload that is passed on whole, as far as it came in pieces. */
  #payload: Buffer = NOTHING;
  #payloadLength = 0;
  #finished = 0;

  /** @param spend called before anything is done: for each frame, of any kind, and for the fields that it is made of */
  constructor(target: FrameTarget, spend: (work: number) => void = () => undefined) {
    this.#target = target;
    this.#spend = spend;
  }

  /** Whether a frame has begun and is not complete. */
  get isInside(): boolean {
    return this.#headerLength > 0;
  }

  /** How many frames were completed so far. */
  get finished(): number {
    return this.#finished;
  }

  /**
   * @param isHeld asked before each step; what it leaves is to be given again
   * @returns what was not taken
   * @throws FrameError; nothing can be made of what follows then
   */
  take(chunk: Buffer, isHeld: () => boolean = () => false): Buffer {
    let rest = chunk;
    while (rest.length > 0 && !isHeld()) {
      if (this.#frame === undefined) rest = this.#takeHeader(rest);
      else rest = this.#takePayload(this.#frame, rest);
    }
    return rest;
  }

  #takeHeader(chunk: Buffer): Buffer {
    const taken = chunk.copy(this.#header, this.#headerLength);
    this.#headerLength += taken;
    if (this.#headerLength === HEADER_BYTES) {
      this.#spend(FRAME_WORK);
      this.#frame = readHeader(this.#header);
      this.#missing = this.#frame.length;
      if (this.#missing === 0) this.#finish(this.#frame);
    }
    return chunk.subarray(taken);
  }

  #takePayload(frame: FrameHeader, chunk: Buffer): Buffer {
    const piece = chunk.subarray(0, this.#missing);
    if (isBytes(frame.kind)) {
      const taken = this.#target.takeBytes(frame.kind, frame.id, piece);
      this.#missing -= taken;
      if (this.#missing === 0) this.#finish(frame);
      return chunk.subarray(taken);
    }
    this.#spend(fieldsWork(piece.length));
    this.#missing -= piece.length;
    if (piece.length < frame.length) this.#keep(piece);
    if (this.#missing === 0) this.#finish(frame, piece.length === frame.length ? piece : undefined);
    return chunk.subarray(piece.length);
  }

  /** In memory that grows with what was sent, not with what was announced. */
  #keep(piece: Buffer): void {
    const length = this.#payloadLength + piece.length;
    if (length > this.#payload.length) {
      const longer = Buffer.allocUnsafe(Math.max(length, 2 * this.#payload.length));
      this.#payload.copy(longer, 0, 0, this.#payloadLength);
      this.#payload = longer;
    }
    piece.copy(this.#payload, this.#payloadLength);
    this.#payloadLength = length;
  }

  #finish({ kind, id }: FrameHeader, whole: Buffer = this.#payload.subarray(0, this.#payloadLength)): void {
    this.#payload = NOTHING;
    this.#payloadLength = 0;
    this.#frame = undefined;
    this.#headerLength = 0;
    this.#finished += 1;
    if (!isBytes(kind)) this.#target.takeFrame(kind, id, whole);
  }
}

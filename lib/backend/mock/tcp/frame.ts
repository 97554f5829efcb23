/**
 * What goes over a connection between two processes: frames of a header and up to {@link MAX_PAYLOAD} bytes.
 *
 * Header: magic (2 bytes), version (1), kind (1), number of the exchange (4), length of the payload (4); big-endian. The
 * header, and the payload of a REFUSAL, are the same in all versions: a peer of another version can be refused in its own.
 */
export const HEADER_BYTES = 12;
const MAGIC = 0x4c44;
export const FRAME_VERSION = 2;

/** Both the largest piece of a transfer that is sent at once and the limit of everything else. */
export const MAX_PAYLOAD = 2 ** 20;

/** A request is answered by one ANSWER or REFUSAL of its number, a cancelled one too; each side numbers its own. */
export const FrameKind = {
  /** Request, the first of a connection: which instance is there? */
  HELLO: 1,
  /** Request: can a link be stored? */
  PREPARE: 2,
  /** Request: store the link. */
  COMMIT: 3,
  /** Request: unlink the cluster that asks. */
  UNLINK: 4,
  /** Request: the table of caches. */
  TABLE: 5,
  /** Request: is a cache there by now? */
  HAS_CACHE: 6,
  /** Request: send bytes; they come as PULLED before the answer. */
  READ: 7,
  /** Request: take bytes; they follow at once as PUSHED. */
  WRITE: 8,
  /** Bytes of a READ of the other side. */
  PULLED: 9,
  /** Bytes of a WRITE of this side. */
  PUSHED: 10,
  /** Request: did the other side make the connection with this token? */
  VOUCH: 11,
  ANSWER: 12,
  REFUSAL: 13,
  /** A READ or WRITE of this side is not waited for any more. */
  CANCEL: 14,
  /** This side uses the link no more, and still serves the other one. */
  RELEASE: 15,
} as const;

export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

const LAST_KIND = Math.max(...Object.values(FrameKind));

/** Bytes that no peer of this version sends. The connection they came over ends. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

/** Frames of another version, in which the peer can be answered. */
export class VersionError extends FrameError {
  constructor(
    readonly version: number,
    readonly id: number,
  ) {
    super(`frames of version ${version}, this is ${FRAME_VERSION}`);
  }
}

export interface FrameHeader {
  readonly kind: FrameKind;
  /** Number of the exchange, uint32. */
  readonly id: number;
  readonly length: number;
}

export function writeHeader(kind: FrameKind, id: number, length: number, version = FRAME_VERSION): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUInt16BE(MAGIC, 0);
  header.writeUInt8(version, 2);
  header.writeUInt8(kind, 3);
  header.writeUInt32BE(id, 4);
  header.writeUInt32BE(length, 8);
  return header;
}

/** @throws FrameError */
export function readHeader(bytes: Buffer): FrameHeader {
  if (bytes.readUInt16BE(0) !== MAGIC) throw new FrameError('what was sent is no frame');
  const version = bytes.readUInt8(2);
  if (version !== FRAME_VERSION) throw new VersionError(version, bytes.readUInt32BE(4));
  const kind = bytes.readUInt8(3);
  if (!isKind(kind)) throw new FrameError(`a frame of the unknown kind ${kind}`);
  const length = bytes.readUInt32BE(8);
  if (length > MAX_PAYLOAD) throw new FrameError(`a frame of ${length} bytes, at most ${MAX_PAYLOAD} are allowed`);
  if (length === 0 && isBytes(kind)) throw new FrameError(`a frame of kind ${kind} that has no bytes`);
  return { kind, id: bytes.readUInt32BE(4), length };
}

function isKind(kind: number): kind is FrameKind {
  return kind >= FrameKind.HELLO && kind <= LAST_KIND;
}

/** Frames whose payload is passed on as it comes, because it has a place to go to. */
export const isBytes = (kind: FrameKind): boolean => kind === FrameKind.PULLED || kind === FrameKind.PUSHED;

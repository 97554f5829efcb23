import { FrameError, MAX_PAYLOAD } from './frame';

const FIRST_BYTES = 256;

/** Writes the fields of a payload, one after the other. */
export class FieldWriter {
  #buffer = Buffer.allocUnsafe(FIRST_BYTES);
  #length = 0;

  uint8(value: number): this {
    this.#length = this.#room(1).writeUInt8(value, this.#length);
    return this;
  }

  flag(value: boolean): this {
    return this.uint8(value ? 1 : 0);
  }

  uint32(value: number): this {
    this.#length = this.#room(4).writeUInt32BE(value, this.#length);
    return this;
  }

  /** Offsets and sizes: whole numbers below 2^48. */
  uint48(value: number): this {
    this.#length = this.#room(6).writeUIntBE(value, this.#length, 6);
    return this;
  }

  uint64(value: bigint): this {
    this.#length = this.#room(8).writeBigUInt64BE(BigInt.asUintN(64, value), this.#length);
    return this;
  }

  text(value: string): this {
    const byteLength = Buffer.byteLength(value);
    this.uint32(byteLength);
    this.#length += this.#room(byteLength).write(value, this.#length);
    return this;
  }

  optionalText(value: string | undefined): this {
    this.flag(value !== undefined);
    return value === undefined ? this : this.text(value);
  }

  end(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  #room(bytes: number): Buffer {
    const needed = this.#length + bytes;
    if (needed > this.#buffer.length) {
      const longer = Buffer.allocUnsafe(Math.max(needed, Math.min(2 * this.#buffer.length, MAX_PAYLOAD)));
      this.#buffer.copy(longer, 0, 0, this.#length);
      this.#buffer = longer;
    }
    return this.#buffer;
  }
}

/** Reads what a {@link FieldWriter} wrote. Anything else is a FrameError. */
export class FieldReader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  uint8(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  flag(): boolean {
    const value = this.uint8();
    if (value > 1) throw new FrameError(`${value} where 0 or 1 is expected`);
    return value === 1;
  }

  uint32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  uint48(): number {
    return this.#bytes.readUIntBE(this.#take(6), 6);
  }

  uint64(): bigint {
    return this.#bytes.readBigUInt64BE(this.#take(8));
  }

  int64(): bigint {
    return this.#bytes.readBigInt64BE(this.#take(8));
  }

  text(maxBytes: number): string {
    const length = this.uint32();
    if (length > maxBytes) throw new FrameError(`a text of ${length} bytes, at most ${maxBytes} are allowed`);
    const start = this.#take(length);
    return this.#bytes.toString('utf8', start, start + length);
  }

  optionalText(maxBytes: number): string | undefined {
    return this.flag() ? this.text(maxBytes) : undefined;
  }

  /** A list whose length comes first; each element has at least `elementBytes`. */
  list<T>(elementBytes: number, read: () => T): T[] {
    const length = this.uint32();
    const left = this.#bytes.length - this.#offset;
    if (length * elementBytes > left) throw new FrameError(`a list of ${length} elements in ${left} bytes`);
    return Array.from({ length }, read);
  }

  end(): void {
    const left = this.#bytes.length - this.#offset;
    if (left > 0) throw new FrameError(`${left} bytes behind the last field`);
  }

  #take(bytes: number): number {
    const start = this.#offset;
    if (start + bytes > this.#bytes.length)
      throw new FrameError(`a payload of ${this.#bytes.length} bytes is cut short`);
    this.#offset += bytes;
    return start;
  }
}

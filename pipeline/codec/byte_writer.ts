/** A writer grows to at most this many bytes; asking for more is a RangeError. */
export const WRITER_BYTES_MAX = 1 << 30;

const utf8 = new TextEncoder();

/**
 * A growing buffer with Avro's primitive encodings: zigzag varints, little-endian floats, length-prefixed bytes.
 *
 * Code that writes by itself calls `ensure`, then writes to `buffer` from `position` on; both change when the buffer grows.
 */
export class ByteWriter {
  buffer: Uint8Array<ArrayBuffer>;
  /** Where the next byte goes. */
  position = 0;
  #view: DataView;

  constructor(capacity = 1024) {
    this.buffer = new Uint8Array(capacity);
    this.#view = new DataView(this.buffer.buffer);
  }

  /** Makes room for `bytes` more. @throws RangeError beyond `WRITER_BYTES_MAX` */
  ensure(bytes: number): void {
    const needed = this.position + bytes;
    if (needed > this.buffer.length) this.#grow(needed);
  }

  /** A view of what was written; valid until the next write. */
  written(): Uint8Array<ArrayBuffer> {
    return this.buffer.subarray(0, this.position);
  }

  /** Starts again at the beginning, keeping the buffer. */
  clear(): void {
    this.position = 0;
  }

  byte(value: number): void {
    this.ensure(1);
    this.buffer[this.position++] = value;
  }

  /** An int, or a long that is a safe integer; the caller has checked that it is one. */
  long(value: number): void {
    if (value >= -64 && value < 64) {
      this.ensure(1);
      this.buffer[this.position++] = value >= 0 ? 2 * value : -2 * value - 1;
    } else {
      // `| 0` keeps the low 32 bits of any whole double; the rest of it is exact up to 2^53.
      this.#words(value | 0, Math.floor(value / 4294967296));
    }
  }

  /** A long of which only the low 64 bits count. */
  bigLong(value: bigint): void {
    this.#words(Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n)));
  }

  float(value: number): void {
    this.ensure(4);
    this.#view.setFloat32(this.position, value, true);
    this.position += 4;
  }

  double(value: number): void {
    this.ensure(8);
    this.#view.setFloat64(this.position, value, true);
    this.position += 8;
  }

  /** Bytes with nothing before them. */
  raw(bytes: Uint8Array): void {
    this.ensure(bytes.length);
    this.buffer.set(bytes, this.position);
    this.position += bytes.length;
  }

  /** Bytes with their length before them. */
  bytes(bytes: Uint8Array): void {
    this.long(bytes.length);
    this.raw(bytes);
  }

  /** UTF-8 with its length in bytes before it. A lone surrogate becomes U+FFFD. */
  string(text: string): void {
    const { length } = text;
    this.ensure(5 + length);
    const start = this.position;
    // Written as ASCII until a character says otherwise.
    this.long(length);
    const { buffer } = this;
    let at = this.position;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code > 127) {
        this.position = start;
        this.bytes(utf8.encode(text));
        return;
      }
      buffer[at++] = code;
    }
    this.position = at;
  }

  /** The two's complement, big-endian, of a safe integer: as few bytes as hold it, with their length before them. */
  unscaled(value: number): void {
    let length = 1;
    for (let bound = 128; value >= bound || value < -bound; bound *= 256) length++;
    this.long(length);
    this.unscaledFixed(value, length);
  }

  /** The two's complement, big-endian, of a safe integer that fits into `length` bytes. */
  unscaledFixed(value: number, length: number): void {
    this.ensure(length);
    const { buffer } = this;
    let rest = value;
    for (let i = this.position + length - 1; i >= this.position; i--) {
      const next = Math.floor(rest / 256);
      buffer[i] = rest - next * 256;
      rest = next;
    }
    this.position += length;
  }

  #words(low: number, high: number): void {
    this.ensure(10);
    const { buffer } = this;
    const sign = high >> 31;
    let at = this.position;
    let zigzagHigh = ((high << 1) | (low >>> 31)) ^ sign;
    let zigzagLow = (low << 1) ^ sign;
    while (zigzagHigh !== 0 || (zigzagLow & ~0x7f) !== 0) {
      buffer[at++] = (zigzagLow & 0x7f) | 0x80;
      zigzagLow = (zigzagLow >>> 7) | (zigzagHigh << 25);
      zigzagHigh >>>= 7;
    }
    buffer[at++] = zigzagLow;
    this.position = at;
  }

  #grow(needed: number): void {
    if (needed > WRITER_BYTES_MAX) {
      throw new RangeError(`Cannot write ${needed} bytes into one buffer: the most is ${WRITER_BYTES_MAX}`);
    }
    const larger = new Uint8Array(Math.min(WRITER_BYTES_MAX, Math.max(needed, 2 * this.buffer.length)));
    larger.set(this.buffer.subarray(0, this.position));
    this.buffer = larger;
    this.#view = new DataView(larger.buffer);
  }
}

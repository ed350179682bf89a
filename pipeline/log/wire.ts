/**
 * The primitives of the Kafka protocol, read from and written to plain bytes.
 * Types and their layout are those of https://kafka.apache.org/protocol#protocol_types: big-endian integers, classic strings and
 * arrays with a fixed-size length, and the compact ones of flexible versions, whose length is an unsigned varint of length + 1
 * (0 means null).
 *
 * @module
 */
import { MalformedRecordError } from "../errors.ts";

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** 2^32: a 64-bit integer is two 32-bit halves, so that offsets and timestamps need no BigInt. */
const HIGH = 0x1_0000_0000;

/**
 * Reads protocol primitives from `[start, end)` of a buffer, moving `position` forward.
 * Every read is checked against `end`; whatever does not fit throws `MalformedRecordError` and never reads beyond.
 * Byte ranges are returned as views, not copies: copy what must outlive the buffer.
 */
export class WireReader {
  readonly data: Uint8Array;
  readonly view: DataView;
  readonly end: number;
  position: number;

  constructor(data: Uint8Array, start = 0, end = data.length) {
    if (start < 0 || end > data.length || start > end) {
      throw new RangeError(`Cannot read [${start}, ${end}) of a buffer of ${data.length} bytes`);
    }
    this.data = data;
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    this.position = start;
    this.end = end;
  }

  /** How many bytes are left. */
  get remaining(): number {
    return this.end - this.position;
  }

  /** Moves over `count` bytes and returns where they start. */
  skip(count: number): number {
    const at = this.position;
    if (count < 0 || count > this.end - at) {
      throw new MalformedRecordError(`Cannot read ${count} bytes at position ${at}: ${this.end - at} are left`);
    }
    this.position = at + count;
    return at;
  }

  int8(): number {
    return this.view.getInt8(this.skip(1));
  }

  uint8(): number {
    return this.data[this.skip(1)];
  }

  boolean(): boolean {
    return this.data[this.skip(1)] !== 0;
  }

  int16(): number {
    return this.view.getInt16(this.skip(2));
  }

  uint16(): number {
    return this.view.getUint16(this.skip(2));
  }

  int32(): number {
    return this.view.getInt32(this.skip(4));
  }

  uint32(): number {
    return this.view.getUint32(this.skip(4));
  }

  /** A 64-bit integer as a number; throws beyond ±(2^53 − 1), which no offset, id or timestamp reaches. */
  int64(): number {
    const at = this.skip(8);
    const value = this.view.getInt32(at) * HIGH + this.view.getUint32(at + 4);
    if (!Number.isSafeInteger(value)) {
      throw new MalformedRecordError(`The 64-bit integer at position ${at} is beyond 2^53 - 1`);
    }
    return value;
  }

  /** A 64-bit integer of any size. */
  bigint64(): bigint {
    return this.view.getBigInt64(this.skip(8));
  }

  float64(): number {
    return this.view.getFloat64(this.skip(8));
  }

  /** An unsigned varint of at most 32 bits (5 bytes). */
  uvarint(): number {
    const at = this.position;
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.data[this.skip(1)];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) {
        if (value >= HIGH) break;
        return value;
      }
    }
    throw new MalformedRecordError(`The varint at position ${at} is longer than 32 bits`);
  }

  /** A zigzag varint of at most 32 bits. */
  varint(): number {
    const value = this.uvarint();
    return (value >>> 1) ^ -(value & 1);
  }

  /** A zigzag varint of at most 64 bits (10 bytes), as a number; throws beyond ±(2^53 − 1). */
  varlong(): number {
    const at = this.position;
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.data[this.skip(1)];
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) {
        const signed = BigInt.asIntN(64, (value >> 1n) ^ -(value & 1n));
        if (signed > BigInt(Number.MAX_SAFE_INTEGER) || signed < BigInt(Number.MIN_SAFE_INTEGER)) break;
        return Number(signed);
      }
    }
    throw new MalformedRecordError(`The varint at position ${at} is beyond 2^53 - 1`);
  }

  /** The 16 bytes of a uuid as 32 hexadecimal digits; all zeros is Kafka's "no id". */
  uuid(): string {
    const at = this.skip(16);
    let hex = "";
    for (let index = at; index < at + 16; index++) hex += this.data[index].toString(16).padStart(2, "0");
    return hex;
  }

  /** The next `length` bytes, as a view. */
  raw(length: number): Uint8Array {
    const at = this.skip(length);
    return this.data.subarray(at, at + length);
  }

  string(): string {
    return this.#text(required(this.int16(), "string", this.position));
  }

  nullableString(): string | null {
    const length = this.int16();
    return length < 0 ? null : this.#text(length);
  }

  compactString(): string {
    return this.#text(required(this.uvarint() - 1, "string", this.position));
  }

  compactNullableString(): string | null {
    const length = this.uvarint() - 1;
    return length < 0 ? null : this.#text(length);
  }

  bytes(): Uint8Array {
    return this.raw(required(this.int32(), "byte field", this.position));
  }

  nullableBytes(): Uint8Array | null {
    const length = this.int32();
    return length < 0 ? null : this.raw(length);
  }

  compactBytes(): Uint8Array {
    return this.raw(required(this.uvarint() - 1, "byte field", this.position));
  }

  compactNullableBytes(): Uint8Array | null {
    const length = this.uvarint() - 1;
    return length < 0 ? null : this.raw(length);
  }

  /**
   * The number of elements of an array, −1 for null. An element takes at least `elementBytesMin` bytes, so a count that cannot fit
   * into what is left is refused before anything is allocated for it.
   */
  arrayLength(elementBytesMin = 1): number {
    return this.#bounded(this.int32(), elementBytesMin);
  }

  /** As `arrayLength`, for flexible versions. */
  compactArrayLength(elementBytesMin = 1): number {
    return this.#bounded(this.uvarint() - 1, elementBytesMin);
  }

  /** Moves over a tagged field section: a count, then (tag, size, bytes) each. */
  skipTaggedFields(): void {
    const count = this.#bounded(this.uvarint(), 2);
    for (let index = 0; index < count; index++) {
      this.uvarint();
      this.skip(this.uvarint());
    }
  }

  #text(length: number): string {
    const at = this.skip(length);
    return length === 0 ? "" : decoder.decode(this.data.subarray(at, at + length));
  }

  #bounded(length: number, elementBytesMin: number): number {
    if (length * elementBytesMin > this.end - this.position) {
      throw new MalformedRecordError(
        `An array of ${length} elements at position ${this.position} cannot fit into the ${this.remaining} bytes left`,
      );
    }
    return length < 0 ? -1 : length;
  }
}

function required(length: number, what: string, position: number): number {
  if (length < 0) throw new MalformedRecordError(`The ${what} before position ${position} is null but must not be`);
  return length;
}

/**
 * Writes protocol primitives to a buffer that grows as needed (by doubling). One writer can be reused with `reset()`.
 * `bytes()` is a view of the buffer: it is good until the next write or reset.
 */
export class WireWriter {
  data: Uint8Array<ArrayBuffer>;
  view: DataView<ArrayBuffer>;
  /** Bytes written so far. */
  position = 0;

  constructor(initialBytes = 256) {
    this.data = new Uint8Array(Math.max(16, initialBytes));
    this.view = new DataView(this.data.buffer);
  }

  /** Forgets what was written and keeps the buffer. */
  reset(): this {
    this.position = 0;
    return this;
  }

  /** What was written, as a view. */
  bytes(): Uint8Array<ArrayBuffer> {
    return this.data.subarray(0, this.position);
  }

  /**
   * Makes room for `count` bytes, moves over them and returns where they start. Their content is undefined until written.
   * It may replace `data` and `view`: look them up after the call, not before.
   */
  reserve(count: number): number {
    const at = this.position;
    const needed = at + count;
    if (needed > this.data.length) {
      const grown = new Uint8Array(Math.max(needed, this.data.length * 2));
      grown.set(this.data.subarray(0, at));
      this.data = grown;
      this.view = new DataView(grown.buffer);
    }
    this.position = needed;
    return at;
  }

  /** Reserves an int32 to be filled by `patchInt32` or `patchLength`, and returns where it is. */
  reserveInt32(): number {
    return this.reserve(4);
  }

  patchInt32(at: number, value: number): this {
    this.view.setInt32(at, value);
    return this;
  }

  /** Sets the int32 at `at` to the number of bytes written after it. */
  patchLength(at: number): this {
    this.view.setInt32(at, this.position - at - 4);
    return this;
  }

  int8(value: number): this {
    const at = this.reserve(1);
    this.view.setInt8(at, value);
    return this;
  }

  boolean(value: boolean): this {
    return this.int8(value ? 1 : 0);
  }

  int16(value: number): this {
    const at = this.reserve(2);
    this.view.setInt16(at, value);
    return this;
  }

  uint16(value: number): this {
    const at = this.reserve(2);
    this.view.setUint16(at, value);
    return this;
  }

  int32(value: number): this {
    const at = this.reserve(4);
    this.view.setInt32(at, value);
    return this;
  }

  uint32(value: number): this {
    const at = this.reserve(4);
    this.view.setUint32(at, value);
    return this;
  }

  /** A 64-bit integer from a number, exact within ±(2^53 − 1). */
  int64(value: number): this {
    const at = this.reserve(8);
    const high = Math.floor(value / HIGH);
    this.view.setInt32(at, high);
    this.view.setUint32(at + 4, value - high * HIGH);
    return this;
  }

  bigint64(value: bigint): this {
    const at = this.reserve(8);
    this.view.setBigInt64(at, value);
    return this;
  }

  float64(value: number): this {
    const at = this.reserve(8);
    this.view.setFloat64(at, value);
    return this;
  }

  /** An unsigned varint of 0 to 2^32 − 1. */
  uvarint(value: number): this {
    let rest = value >>> 0;
    while (rest > 0x7f) {
      this.int8((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    return this.int8(rest);
  }

  /** A zigzag varint of a 32-bit integer. */
  varint(value: number): this {
    return this.uvarint(((value << 1) ^ (value >> 31)) >>> 0);
  }

  /** A zigzag varint of an integer within ±(2^53 − 1). */
  varlong(value: number): this {
    let rest = value < 0 ? -value * 2 - 1 : value * 2;
    // Doubled, a number beyond 2^52 is not exact any more.
    if (rest > Number.MAX_SAFE_INTEGER) return this.#varlongBig(value);
    while (rest > 0x7f) {
      this.int8((rest % 128) | 0x80);
      rest = Math.floor(rest / 128);
    }
    return this.int8(rest);
  }

  /** 16 bytes from 32 hexadecimal digits. */
  uuid(hex: string): this {
    const at = this.reserve(16);
    for (let index = 0; index < 16; index++) {
      this.data[at + index] = Number.parseInt(hex.substring(index * 2, index * 2 + 2), 16);
    }
    return this;
  }

  /** The bytes as they are, without a length. */
  raw(bytes: Uint8Array): this {
    const at = this.reserve(bytes.length);
    this.data.set(bytes, at);
    return this;
  }

  string(value: string | null): this {
    if (value === null) return this.int16(-1);
    const text = encoder.encode(value);
    if (text.length > 0x7fff) throw new RangeError(`Cannot write a string of ${text.length} bytes: 32767 is the limit`);
    return this.int16(text.length).raw(text);
  }

  compactString(value: string | null): this {
    if (value === null) return this.uvarint(0);
    const text = encoder.encode(value);
    return this.uvarint(text.length + 1).raw(text);
  }

  /** A byte field; null becomes length −1. */
  byteField(value: Uint8Array | null): this {
    return value === null ? this.int32(-1) : this.int32(value.length).raw(value);
  }

  compactByteField(value: Uint8Array | null): this {
    return value === null ? this.uvarint(0) : this.uvarint(value.length + 1).raw(value);
  }

  /** The number of elements that follow; −1 for a null array. */
  arrayLength(length: number): this {
    return this.int32(length);
  }

  compactArrayLength(length: number): this {
    return this.uvarint(length + 1);
  }

  /** An empty tagged field section. */
  noTaggedFields(): this {
    return this.int8(0);
  }

  #varlongBig(value: number): this {
    let rest = BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n));
    while (rest > 0x7fn) {
      this.int8(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    return this.int8(Number(rest));
  }
}

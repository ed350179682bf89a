/**
 * Where the fields of the records of one or more record batches lie, without copying or decoding any of them.
 * Filled by the record batch scanner, read by the decoders and the window operator.
 *
 * @module
 */
export class Records {
  readonly capacity: number;
  /** How many rows are filled. */
  length = 0;
  /** The bytes that all positions point into: the fetched frame, or a decompressed batch. */
  data: Uint8Array = new Uint8Array(0);
  view: DataView = new DataView(this.data.buffer);
  /** Offset in the partition. */
  readonly offsets: Float64Array;
  /** Kafka's own timestamp, milliseconds since the epoch. */
  readonly timestamps: Float64Array;
  /** `[start, end)` of the key; start is -1 for a null key. */
  readonly keyStart: Int32Array;
  readonly keyEnd: Int32Array;
  /** `[start, end)` of the value; start is -1 for a null value (a tombstone). */
  readonly valueStart: Int32Array;
  readonly valueEnd: Int32Array;
  /** `[start, end)` of the header block: a varint count, then the headers as they are on the wire. */
  readonly headersStart: Int32Array;
  readonly headersEnd: Int32Array;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.offsets = new Float64Array(capacity);
    this.timestamps = new Float64Array(capacity);
    this.keyStart = new Int32Array(capacity);
    this.keyEnd = new Int32Array(capacity);
    this.valueStart = new Int32Array(capacity);
    this.valueEnd = new Int32Array(capacity);
    this.headersStart = new Int32Array(capacity);
    this.headersEnd = new Int32Array(capacity);
  }
}

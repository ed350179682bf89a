/**
 * A sparse index of one segment, by offset and by time. One file beside the segment, `<base offset>.index`, of 16-byte entries:
 *
 *      0  uint32   offset of a batch, relative to the segment's base offset
 *      4  uint32   position of that batch in the segment file
 *      8  float64  largest timestamp of all batches before that position, -1 at the start
 *
 * Both offset and position grow from entry to entry. An entry reaches the file only after the segment's bytes before it are on disk, so
 * the last one is the recovery point. A segment that is complete ends with an entry whose position is the size of the file.
 *
 * @module
 */
const entryBytes = 16;

export class OffsetIndex {
  #bytes = new DataView(new ArrayBuffer(16 * entryBytes));
  /** Number of entries. */
  length = 0;
  /** How many of them are in the file. */
  persisted = 0;

  offset(entry: number): number {
    return this.#bytes.getUint32(entry * entryBytes);
  }

  position(entry: number): number {
    return this.#bytes.getUint32(entry * entryBytes + 4);
  }

  timestampBefore(entry: number): number {
    return this.#bytes.getFloat64(entry * entryBytes + 8);
  }

  append(offset: number, position: number, timestampBefore: number): void {
    if (this.length * entryBytes === this.#bytes.byteLength) {
      const grown = new Uint8Array(this.#bytes.byteLength * 2);
      grown.set(new Uint8Array(this.#bytes.buffer));
      this.#bytes = new DataView(grown.buffer);
    }
    const at = this.length++ * entryBytes;
    this.#bytes.setUint32(at, offset);
    this.#bytes.setUint32(at + 4, position);
    this.#bytes.setFloat64(at + 8, timestampBefore);
  }

  /** The last entry whose offset is at most `offset`, −1 when there is none. */
  floor(offset: number): number {
    let low = -1;
    for (let high = this.length; high - low > 1;) {
      const middle = (low + high) >>> 1;
      if (this.offset(middle) <= offset) low = middle;
      else high = middle;
    }
    return low;
  }

  /** The first entry whose position is at least `position`, `length` when there is none. */
  ceiling(position: number): number {
    let low = -1;
    for (let high = this.length; high - low > 1;) {
      const middle = (low + high) >>> 1;
      if (this.position(middle) < position) low = middle;
      else high = middle;
    }
    return low + 1;
  }

  /** Where to start looking for the first batch with a timestamp of at least `timestamp`: a position no such batch is before. */
  positionBefore(timestamp: number): number {
    let low = -1;
    for (let high = this.length; high - low > 1;) {
      const middle = (low + high) >>> 1;
      if (this.timestampBefore(middle) < timestamp) low = middle;
      else high = middle;
    }
    return low < 0 ? 0 : this.position(low);
  }

  /** Entries `[from, to)` as they are in the file. */
  encode(from: number, to: number): Uint8Array {
    return new Uint8Array(this.#bytes.buffer, from * entryBytes, (to - from) * entryBytes);
  }

  /** Reads a file's bytes up to the first entry that cannot be right for a segment of `segmentBytes`. */
  static decode(bytes: Uint8Array, segmentBytes: number): OffsetIndex {
    const index = new OffsetIndex();
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let last = { offset: -1, position: -1, timestamp: -Infinity };
    for (let at = 0; at + entryBytes <= bytes.length; at += entryBytes) {
      const entry = {
        offset: view.getUint32(at),
        position: view.getUint32(at + 4),
        timestamp: view.getFloat64(at + 8),
      };
      const grows = entry.offset > last.offset && entry.position > last.position && entry.timestamp >= last.timestamp;
      if (!grows || entry.position > segmentBytes) break;
      index.append(entry.offset, entry.position, entry.timestamp);
      last = entry;
    }
    index.persisted = index.length;
    return index;
  }
}

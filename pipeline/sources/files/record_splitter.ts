/**
 * Bytes of a text file, divided into records: lines, and in CSV lines whose quotes may hold line ends.
 *
 *     id,name⏎  1,"two⏎lines, ""quoted"""⏎  2,plain⏎
 *     └────┘   └──────────────────────────┘  └──────┘
 *
 * @module
 */

/** A longer record is none: a quote that nobody closes would take the rest of the file with it. */
export const RECORD_BYTES_MAX = 1024 * 1024;

const LF = 0x0a;
const CR = 0x0d;

/** A record without its line end, valid until the next call. */
export interface SplitRecord {
  readonly bytes: Uint8Array;
  /** Of its first line, from 1. */
  readonly line: number;
  /** Null for a whole record. */
  readonly problem: string | null;
  /** Whether it has quotes. */
  readonly hasQuotes: boolean;
}

export interface SplitterOptions {
  /** Null where quotes mean nothing. */
  readonly csv: { readonly quote: number; readonly delimiter: number } | null;
  readonly offset: number;
  readonly line: number;
}

export class RecordSplitter {
  readonly #csv: SplitterOptions["csv"];
  #buffer = new Uint8Array(64 * 1024);
  /** Of the record that comes next. */
  #start = 0;
  #end = 0;
  /** Nothing is there before it: the search goes on from here when more bytes come. */
  #searched = 0;
  #offset: number;
  #line: number;
  #isEnded = false;
  /** In the middle of a line that is too long, up to its end. */
  #isSkipping = false;

  constructor({ csv, offset, line }: SplitterOptions) {
    this.#csv = csv;
    this.#offset = offset;
    this.#line = line;
  }

  /** Bytes of the file before the next record. */
  get offset(): number {
    return this.#offset;
  }

  /** Line of the next record. */
  get line(): number {
    return this.#line;
  }

  /** False in the middle of a line that was too long: what comes next is no record. */
  get isBetween(): boolean {
    return !this.#isSkipping;
  }

  push(chunk: Uint8Array): void {
    const held = this.#end - this.#start;
    if (this.#end + chunk.length > this.#buffer.length) {
      const target = held + chunk.length > this.#buffer.length
        ? new Uint8Array(2 * (held + chunk.length))
        : this.#buffer;
      target.set(this.#buffer.subarray(this.#start, this.#end));
      this.#buffer = target;
      this.#searched -= this.#start;
      this.#start = 0;
      this.#end = held;
    }
    this.#buffer.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /** No more bytes come. */
  end(): void {
    this.#isEnded = true;
  }

  /** Null when more bytes are needed, or nothing is left. */
  next(): SplitRecord | null {
    for (;;) {
      if (this.#start === this.#end) return null;
      if (this.#isSkipping) {
        if (!this.#skip()) return null;
        continue;
      }
      const found = this.#find();
      if (found === null) return null;
      if (found.bytes.length > 0 || found.problem !== null) return found;
    }
  }

  #find(): SplitRecord | null {
    const lineEnd = this.#indexOf(LF, this.#searched);
    const hasQuotes = this.#csv !== null &&
      this.#buffer.subarray(this.#start, lineEnd < 0 ? this.#end : lineEnd).includes(this.#csv.quote);
    const at = hasQuotes ? this.#quotedEnd() : lineEnd;
    if (at >= 0) return this.#take(at, at + 1, hasQuotes);
    const isTooLong = this.#end - this.#start > RECORD_BYTES_MAX;
    if (!isTooLong && !this.#isEnded) {
      if (!hasQuotes) this.#searched = this.#end;
      return null;
    }
    const firstEnd = hasQuotes ? this.#indexOf(LF, this.#start) : -1;
    if (hasQuotes && (firstEnd >= 0 || !isTooLong) && this.#isOpen) {
      // The line alone is lost: what comes after it may be whole records.
      const end = firstEnd < 0 ? this.#end : firstEnd;
      const record = this.#take(end, Math.min(end + 1, this.#end), true);
      return { ...record, problem: "opens a quote that is not closed" };
    }
    if (isTooLong) {
      const record = this.#take(this.#end, this.#end, hasQuotes);
      this.#isSkipping = true;
      return { ...record, problem: `is longer than ${RECORD_BYTES_MAX} bytes` };
    }
    return this.#take(this.#end, this.#end, hasQuotes);
  }

  /** Whether the last search ended inside quotes. */
  #isOpen = false;

  /** The line end after the record at `#start`, with line ends in quotes passed over; -1 when it is not there yet. */
  #quotedEnd(): number {
    const { quote, delimiter } = this.#csv!;
    const buffer = this.#buffer;
    let isInside = false;
    let isFieldStart = true;
    for (let i = this.#start; i < this.#end; i++) {
      const byte = buffer[i];
      if (isInside) {
        if (byte === quote) {
          // Two of them are one in the text; the second one opens it again.
          isInside = false;
          isFieldStart = i + 1 < this.#end && buffer[i + 1] === quote;
        }
      } else if (byte === LF) {
        this.#isOpen = false;
        return i;
      } else if (byte === quote && isFieldStart) {
        isInside = true;
        isFieldStart = false;
      } else isFieldStart = byte === delimiter;
    }
    this.#isOpen = isInside;
    return -1;
  }

  #take(end: number, next: number, hasQuotes: boolean): SplitRecord {
    const line = this.#line;
    const start = this.#start;
    let lines = next > end ? 1 : 0;
    if (hasQuotes) {
      for (let at = this.#buffer.indexOf(LF, start); at >= 0 && at < end; at = this.#buffer.indexOf(LF, at + 1)) {
        lines++;
      }
    }
    this.#line += lines;
    this.#offset += next - start;
    this.#start = next;
    this.#searched = next;
    const isCr = end > start && this.#buffer[end - 1] === CR;
    return { bytes: this.#buffer.subarray(start, isCr ? end - 1 : end), line, problem: null, hasQuotes };
  }

  #skip(): boolean {
    const at = this.#indexOf(LF, this.#start);
    const next = at < 0 ? this.#end : at + 1;
    this.#offset += next - this.#start;
    this.#start = next;
    this.#searched = next;
    if (at < 0) return false;
    this.#line++;
    this.#isSkipping = false;
    return true;
  }

  #indexOf(byte: number, from: number): number {
    const at = this.#buffer.indexOf(byte, from);
    return at < this.#end ? at : -1;
  }
}

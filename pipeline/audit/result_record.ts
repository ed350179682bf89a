import { readLong } from "../codec/varint.ts";
import type { FieldType } from "../columns.ts";
import { bigintFromBytes, decimalText } from "../decimal.ts";
import { FRAME_BYTES } from "../codec/framing.ts";
import type { ResultColumn } from "../plan/plan.ts";
import type { ResultValue } from "../sinks/sink.ts";

/**
 * Reads a record of a results topic, as sinks/kafka.ts writes it with the schema of sinks/result_schema.ts:
 *
 *     frame, 5 bytes | of each column: for a nullable one 0 (null) or 2; then the value
 *
 * Null when it is none.
 */
export function readResultRecord(columns: readonly ResultColumn[], value: Uint8Array): ResultValue[] | null {
  const reader = new Reader(value);
  const values = columns.map(({ type }) => {
    const branch = type.nullable ? reader.long() : 1n;
    return branch === 0n ? null : reader.value(type);
  });
  return reader.isWhole ? values : null;
}

const utf8 = new TextDecoder();

class Reader {
  readonly #data: Uint8Array;
  readonly #view: DataView;
  readonly #words = new Int32Array(2);
  #at = FRAME_BYTES;

  constructor(data: Uint8Array) {
    this.#data = data;
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  }

  /** Whether everything was there, and nothing was left. */
  get isWhole(): boolean {
    return this.#at === this.#data.length;
  }

  long(): bigint {
    const next = readLong(this.#data, this.#at, this.#data.length, this.#words);
    // From here on nothing is there any more.
    this.#at = next < 0 ? Infinity : next;
    return (BigInt(this.#words[1]) << 32n) | BigInt(this.#words[0] >>> 0);
  }

  value(type: FieldType): ResultValue {
    switch (type.type) {
      case "boolean":
        return this.#bytes(1)?.[0] === 1;
      case "float":
        return this.#bytes(4) && this.#view.getFloat32(this.#at - 4, true);
      case "double":
        return this.#bytes(8) && this.#view.getFloat64(this.#at - 8, true);
      case "enum":
        return type.symbols[Number(this.long())] ?? null;
      case "string":
      case "uuid": {
        const bytes = this.#bytes(Number(this.long()));
        return bytes && utf8.decode(bytes);
      }
      case "bytes":
        return this.#bytes(Number(this.long()))?.slice() ?? null;
      case "decimal": {
        const bytes = this.#bytes(Number(this.long()));
        return bytes && decimalText(bigintFromBytes(bytes), type.scale);
      }
      default: {
        const long = this.long();
        return Number.isSafeInteger(Number(long)) ? Number(long) : long;
      }
    }
  }

  #bytes(length: number): Uint8Array | null {
    const end = this.#at + length;
    if (!(length >= 0 && end <= this.#data.length)) {
      this.#at = Infinity;
      return null;
    }
    const bytes = this.#data.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }
}

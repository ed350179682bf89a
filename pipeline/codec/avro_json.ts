/**
 * Avro bytes as JSON, for showing records that were set aside. Slow and careful: whatever the bytes are, it takes time and
 * memory in proportion to them.
 *
 * @module
 */
import { MalformedRecordError } from "../errors.ts";
import { logicalText } from "./leaf_values.ts";
import { EMPTY_ITEMS_MAX, VALUE_DEPTH_MAX } from "./projection_code.ts";
import { type AvroType, leastBytes, type Logical } from "./schema.ts";
import { readInt, readLong, TOO_LONG } from "./varint.ts";

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** @throws MalformedRecordError saying which field the bytes do not fit */
export function readJson(type: AvroType, bytes: Uint8Array): Json {
  const reader = new JsonReader(bytes);
  const json = reader.read(type, "", 0);
  reader.end();
  return json;
}

/** Values that follow each other without anything between them, as in a block of a container file. */
export interface JsonSequence {
  /** Where the next value begins. */
  readonly position: number;
  /** @throws MalformedRecordError saying what the bytes do not fit; where the values after it begin is then unknown */
  next(): Json;
}

/** The bound on items without bytes is one for all the values. */
export function readJsonSequence(type: AvroType, bytes: Uint8Array): JsonSequence {
  const reader = new JsonReader(bytes);
  return {
    get position() {
      return reader.position;
    },
    next: () => reader.read(type, "", 0),
  };
}

/** What could be read of a value: all of it, or a record's fields up to the first that the bytes do not fit. */
export interface JsonPrefix {
  readonly json: Json;
  /** What the bytes after that do not fit; null when the value is whole. */
  readonly fault: string | null;
}

/** Reads as far as it goes. */
export function readJsonPrefix(type: AvroType, bytes: Uint8Array): JsonPrefix {
  const reader = new JsonReader(bytes);
  let json: Json | undefined;
  try {
    json = reader.read(type, "", 0);
    reader.end();
    return { json, fault: null };
  } catch (error) {
    if (!(error instanceof MalformedRecordError)) throw error;
    return { json: json ?? reader.begun, fault: error.message };
  }
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

class JsonReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #words = new Int32Array(2);
  #at = 0;
  /** The outermost record, with the fields read so far; null before there is one. */
  begun: Json = null;
  /** Items without bytes are counted over the whole value, as each takes memory but no input. */
  #emptyItems = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get position(): number {
    return this.#at;
  }

  end(): void {
    const left = this.#bytes.length - this.#at;
    if (left > 0) throw new MalformedRecordError(`${left} bytes follow the record`);
  }

  read(type: AvroType, path: string, depth: number): Json {
    if (depth > VALUE_DEPTH_MAX) throw fault(path, `values inside each other more than ${VALUE_DEPTH_MAX} deep`);
    switch (type.kind) {
      case "null":
        return null;
      case "boolean": {
        const byte = this.#bytes[this.#take(1, path)];
        if (byte > 1) throw fault(path, `a boolean is 0 or 1, not ${byte}`);
        return byte === 1;
      }
      case "int":
        return this.#whole(BigInt(this.#int(path)), type.logical);
      case "long":
        return this.#whole(this.#long(path), type.logical);
      case "float":
        return numberJson(this.#view.getFloat32(this.#take(4, path), true));
      case "double":
        return numberJson(this.#view.getFloat64(this.#take(8, path), true));
      case "string":
        return utf8.decode(this.#run(this.#length(path), path));
      case "bytes":
        return this.#opaque(this.#run(this.#length(path), path), type.logical);
      case "fixed":
        return this.#opaque(this.#run(type.size, path), type.logical);
      case "enum": {
        const index = this.#int(path);
        if (index < 0 || index >= type.symbols.length) {
          throw fault(path, `no enum symbol ${index} of ${type.symbols.length}`);
        }
        return type.symbols[index];
      }
      case "union": {
        const index = Number(this.#long(path));
        const branch = type.branches[index];
        if (branch === undefined) throw fault(path, `no union branch ${index} of ${type.branches.length}`);
        return this.read(branch, path, depth);
      }
      case "array": {
        const items: Json[] = [];
        this.#blocks(
          leastBytes(type.items),
          path,
          () => items.push(this.read(type.items, `${path}[${items.length}]`, depth + 1)),
        );
        return items;
      }
      case "map": {
        const entries: { [key: string]: Json } = {};
        this.#blocks(1 + leastBytes(type.values), path, () => {
          const key = utf8.decode(this.#run(this.#length(path), path));
          put(entries, key, this.read(type.values, `${path}[${JSON.stringify(key.slice(0, 40))}]`, depth + 1));
        });
        return entries;
      }
      case "record": {
        const record: { [field: string]: Json } = {};
        this.begun ??= record;
        for (const field of type.fields) {
          put(record, field.name, this.read(field.type, path === "" ? field.name : `${path}.${field.name}`, depth + 1));
        }
        return record;
      }
    }
  }

  #blocks(least: number, path: string, item: () => void): void {
    for (;;) {
      let count = Number(this.#long(path));
      if (count === 0) return;
      let end = -1;
      if (count < 0) {
        count = -count;
        const size = this.#length(path);
        end = this.#at + size;
      }
      const left = this.#bytes.length - this.#at;
      if (least === 0) this.#emptyItems += count;
      if (least === 0 ? this.#emptyItems > EMPTY_ITEMS_MAX : count > left / least) {
        throw fault(path, `a block of ${count} items, more than the value's bytes can hold`);
      }
      for (; count > 0; count--) item();
      if (end >= 0 && end !== this.#at) throw fault(path, "a block that does not have the bytes it says");
    }
  }

  #whole(value: bigint, logical: Logical | null): Json {
    const text = logical && logicalText(logical, value);
    if (text !== null) return text;
    return BigInt.asIntN(54, value) === value && value !== -(2n ** 53n) ? Number(value) : value.toString();
  }

  #opaque(bytes: Uint8Array, logical: Logical | null): Json {
    const shown = logical && logicalText(logical, bytes);
    if (shown !== null) return shown;
    let text = "";
    for (const byte of bytes) text += String.fromCharCode(byte);
    return text;
  }

  #int(path: string): number {
    this.#moved(readInt(this.#bytes, this.#at, this.#bytes.length, this.#words), path);
    return this.#words[0];
  }

  #long(path: string): bigint {
    this.#moved(readLong(this.#bytes, this.#at, this.#bytes.length, this.#words), path);
    return (BigInt(this.#words[1]) << 32n) | BigInt(this.#words[0] >>> 0);
  }

  #moved(at: number, path: string): void {
    if (at < 0) throw fault(path, at === TOO_LONG ? "an integer with too many bytes" : "the value ends inside it");
    this.#at = at;
  }

  #length(path: string): number {
    const length = Number(this.#long(path));
    if (length < 0) throw fault(path, `negative length ${length}`);
    if (length > this.#bytes.length - this.#at) throw fault(path, `length ${length} runs past the value's end`);
    return length;
  }

  #run(length: number, path: string): Uint8Array {
    const start = this.#take(length, path);
    return this.#bytes.subarray(start, start + length);
  }

  /** Steps over `length` bytes; where they begin. */
  #take(length: number, path: string): number {
    const start = this.#at;
    if (length > this.#bytes.length - start) throw fault(path, "the value ends inside it");
    this.#at += length;
    return start;
  }
}

/** Assigning to `__proto__` would replace the prototype instead of adding a property. */
function put(object: { [name: string]: Json }, name: string, value: Json): void {
  if (name !== "__proto__") object[name] = value;
  else Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
}

function numberJson(value: number): Json {
  return Number.isFinite(value) ? value : String(value);
}

function fault(path: string, problem: string): MalformedRecordError {
  return new MalformedRecordError(`${path === "" ? "the value" : path.slice(0, 200)}: ${problem}`);
}

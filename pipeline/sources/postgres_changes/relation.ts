/**
 * A table as its changes come: its columns at that place in the log, the Avro schema of its records, and how they are written.
 *
 * A record is what Debezium calls an envelope:
 *
 *     { before, after, op, ts_ms, source: { db, schema, table, lsn, index, txId, ts_ms, snapshot }, unavailable }
 *
 * Every column may be null, so that a column more or less is a compatible change. Names that Avro does not take have `_` for
 * what it does not like; `column` says then what the column is called.
 *
 * The key is JSON, `{"id":42}`, because its bytes must stay the same when the schema changes: they decide the partition.
 *
 * @module
 */
import type { ByteWriter } from "../../codec/byte_writer.ts";
import { FRAME_BYTES, writeFrame } from "../../codec/framing.ts";
import type { AvroSchema } from "../../plan/plan.ts";
import { columnType, type WriteValue } from "./column_types.ts";

export interface RelationColumn {
  readonly name: string;
  /** The type's number, and the column's modifier of it; -1 for none. */
  readonly type: number;
  readonly modifier: number;
  /** Part of what names a row. */
  readonly isKey: boolean;
}

/** Where the values of a row lie: `[2 * column]` and the end behind it. */
export type Cells = Int32Array;
/** Instead of a start: the value is null. */
export const NULL = -1;
/** Instead of a start: the server did not send the value, which is large and did not change. */
export const UNCHANGED = -2;

/** What a record tells besides the row. */
export interface Origin {
  readonly op: "r" | "c" | "u" | "d" | "t";
  /** Of the commit, or of the snapshot. */
  readonly lsn: number;
  /** Which change of the transaction it is, from 1; 0 in a snapshot. */
  readonly index: number;
  /** Null in a snapshot. */
  readonly transaction: number | null;
  /** Of the commit, or of the snapshot, milliseconds since 1970. */
  readonly committedAtMs: number;
  readonly nowMs: number;
}

const OPS = { r: 0x72, c: 0x63, u: 0x75, d: 0x64, t: 0x74 } as const;
const utf8 = new TextEncoder();
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Writes the records of one table, as it is at one place in the log. */
export class Relation {
  readonly topic: string;
  /** `schema.table` */
  readonly table: string;
  readonly columns: readonly RelationColumn[];
  readonly schema: AvroSchema;
  /** Under which the registry has the schema. */
  schemaId = 0;
  readonly #names: readonly string[];
  readonly #writers: readonly WriteValue[];
  readonly #keys: readonly { readonly column: number; readonly label: Uint8Array; readonly json: string }[];
  /** `db`, `schema` and `table` as Avro. */
  readonly #place: Uint8Array;
  readonly #unavailable: number[] = [];

  constructor(
    { database, schema, table, topic, columns }: {
      readonly database: string;
      readonly schema: string;
      readonly table: string;
      readonly topic: string;
      readonly columns: readonly RelationColumn[];
    },
  ) {
    this.topic = topic;
    this.table = `${schema}.${table}`;
    this.columns = columns;
    this.#names = avroNames(columns.map(({ name }) => name));
    const types = columns.map(({ type, modifier }) => columnType(type, modifier));
    this.#writers = types.map(({ write }) => write);
    this.schema = envelope(
      topic,
      columns.map(({ name }, i) => ({
        name: this.#names[i],
        type: ["null", types[i].schema],
        default: null,
        ...(name === this.#names[i] ? {} : { column: name }),
      })),
    );
    this.#place = Uint8Array.of(...[database, schema, table].flatMap((text) => [...avroString(text)]));
    const keys = columns.flatMap(({ isKey }, column) => isKey ? [column] : []);
    this.#keys = keys.map((column, i) => ({
      column,
      label: utf8.encode(`${i === 0 ? "{" : ","}${JSON.stringify(columns[column].name)}:`),
      json: types[column].json,
    }));
  }

  /** The key of the row whose values lie in `data`. */
  writeKey(data: Uint8Array, cells: Cells, out: ByteWriter): void {
    for (const { column, label, json } of this.#keys) {
      out.raw(label);
      const start = cells[2 * column];
      const end = cells[2 * column + 1];
      if (start < 0) out.raw(NULL_TEXT);
      else if (json === "number") copy(data, start, end, out);
      else if (json === "boolean") out.raw(data[start] === 0x74 ? TRUE_TEXT : FALSE_TEXT);
      else quoted(data, start, end, out);
    }
    out.byte(0x7d);
  }

  /** The texts of the key's values, in the order of the columns. */
  keyTexts(data: Uint8Array, cells: Cells): string[] {
    return this.#keys.map(({ column }) => text.decode(data.subarray(cells[2 * column], cells[2 * column + 1])));
  }

  /** A record in Confluent's framing; the rows' values lie in `data`. */
  writeValue(
    data: Uint8Array,
    { before, after }: { readonly before: Cells | null; readonly after: Cells | null },
    origin: Origin,
    out: ByteWriter,
  ): void {
    out.ensure(FRAME_BYTES);
    writeFrame(out.buffer, out.position, this.schemaId);
    out.position += FRAME_BYTES;
    this.#unavailable.length = 0;
    this.#writeRow(data, before, out);
    // Of what was before, only the key is sent as a rule: what is not there is not worth a word.
    this.#unavailable.length = 0;
    this.#writeRow(data, after, out);
    out.byte(2);
    out.byte(OPS[origin.op]);
    out.long(origin.nowMs);
    out.raw(this.#place);
    out.long(origin.lsn);
    out.long(origin.index);
    if (origin.transaction === null) {
      out.byte(0);
    } else {
      out.byte(2);
      out.long(origin.transaction);
    }
    out.long(origin.committedAtMs);
    out.byte(origin.op === "r" ? 1 : 0);
    if (this.#unavailable.length > 0) {
      out.long(this.#unavailable.length);
      for (const column of this.#unavailable) out.string(this.#names[column]);
    }
    out.byte(0);
  }

  #writeRow(data: Uint8Array, cells: Cells | null, out: ByteWriter): void {
    if (cells === null) return out.byte(0);
    out.byte(2);
    const writers = this.#writers;
    for (let i = 0; i < writers.length; i++) {
      const start = cells[2 * i];
      if (start >= 0) {
        const mark = out.position;
        out.byte(2);
        if (writers[i](data, start, cells[2 * i + 1], out)) continue;
        out.position = mark;
        this.#unavailable.push(i);
      } else if (start === UNCHANGED) {
        this.#unavailable.push(i);
      }
      out.byte(0);
    }
  }
}

const text = new TextDecoder();
const NULL_TEXT = utf8.encode("null");
const TRUE_TEXT = utf8.encode("true");
const FALSE_TEXT = utf8.encode("false");

function copy(data: Uint8Array, start: number, end: number, out: ByteWriter): void {
  out.ensure(end - start);
  for (let i = start; i < end; i++) out.buffer[out.position++] = data[i];
}

function quoted(data: Uint8Array, start: number, end: number, out: ByteWriter): void {
  for (let i = start; i < end; i++) {
    if (data[i] === QUOTE || data[i] === BACKSLASH || data[i] < 0x20) {
      return out.raw(utf8.encode(JSON.stringify(text.decode(data.subarray(start, end)))));
    }
  }
  out.byte(QUOTE);
  copy(data, start, end, out);
  out.byte(QUOTE);
}

function avroString(value: string): Uint8Array {
  const bytes = utf8.encode(value);
  // Names are shorter than 64 bytes, whose length takes one.
  return Uint8Array.of(
    ...bytes.length < 64 ? [2 * bytes.length] : [(2 * bytes.length & 0x7f) | 0x80, bytes.length >> 6],
    ...bytes,
  );
}

/** Names as Avro takes them, each once. */
export function avroNames(names: readonly string[]): string[] {
  const given = new Set(names.filter(isAvroName));
  return names.map((name) => {
    if (isAvroName(name)) return name;
    const bare = name.replaceAll(/[^A-Za-z0-9_]/g, "_").replace(/^(?=\d|$)/, "_");
    let free = bare;
    for (let i = 2; given.has(free); i++) free = `${bare}_${i}`;
    given.add(free);
    return free;
  });
}

function isAvroName(name: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name);
}

function envelope(topic: string, fields: readonly unknown[]): AvroSchema {
  const namespace = topic.split(/[.-]/).map((part) => avroNames([part])[0]).join(".");
  const time = { type: "long", logicalType: "timestamp-millis" };
  return {
    type: "record",
    name: "Envelope",
    namespace,
    fields: [
      { name: "before", type: ["null", { type: "record", name: "Value", fields }], default: null },
      { name: "after", type: ["null", "Value"], default: null },
      { name: "op", type: "string", doc: "c, u, d, t (truncate), or r (was there at first)" },
      { name: "ts_ms", type: time, doc: "When it was read" },
      {
        name: "source",
        type: {
          type: "record",
          name: "Source",
          fields: [
            { name: "db", type: "string" },
            { name: "schema", type: "string" },
            { name: "table", type: "string" },
            { name: "lsn", type: "long", doc: "Of the commit, or of the snapshot" },
            { name: "index", type: "long", doc: "Which change of its transaction, from 1" },
            { name: "txId", type: ["null", "long"], default: null },
            { name: "ts_ms", type: time, doc: "When it was committed" },
            { name: "snapshot", type: "boolean" },
          ],
        },
      },
      {
        name: "unavailable",
        type: { type: "array", items: "string" },
        default: [],
        doc: "Columns of after that are null because their value was not sent, or has no form in Avro",
      },
    ],
  };
}

/**
 * One row of results or of a delivery as a statement and its values.
 *
 *     INSERT INTO t (columns .., computed ..) VALUES (? ..) USING TIMESTAMP ? [AND TTL ..]
 *     DELETE FROM t USING TIMESTAMP ? WHERE primary key = ? ..        of a record that says that there is nothing any more
 *
 * The timestamp is `2 * revision + final`: of two writes of a column Cassandra keeps the one with the higher timestamp, in whatever
 * order they come, so what is older never replaces what is newer. It has nothing to do with the time of day: what others write to
 * the table without a timestamp, deletes too, is newer than all that comes from here.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import driver from "cassandra-driver";
import type { ResultColumn } from "../../plan/plan.ts";
import type { ResultRows, ResultValue } from "../sink.ts";
import { quoted } from "./statements.ts";
import { COMPUTED, type Computed, isAppendOnly, OFFSETS_PER_BLOCK, type Table, tableSql } from "./table.ts";
import { date, type Encode, int, keptIn, long } from "./types.ts";

/** A column of a primary key holds as much, and all of the partition key together. */
const KEY_BYTES_MAX = 65_535;
const DAY_MS = 86_400_000;
/** Twice a revision, and one, is exact up to here. */
const EXACT_REVISION_MAX = 2 ** 52 - 1;

/** A value as the driver takes it: bytes, a null that deletes what was there, or nothing at all. */
export type Parameter = Buffer | null | typeof driver.types.unset;

export interface EncodedRow {
  readonly row: number;
  readonly statement: string;
  readonly parameters: readonly Parameter[];
  readonly bytes: number;
  /** The partition key as tokens are computed from. */
  readonly routingKey: Buffer;
}

export interface RefusedRow {
  readonly row: number;
  readonly reason: string;
}

type Source = (rows: ResultRows, row: number) => Parameter;

export class RowEncoder {
  readonly #insert: string;
  readonly #delete: string;
  readonly #sources: readonly Source[];
  readonly #names: readonly string[];
  /** Where columns of the primary key are among the parameters; the partition key first, in its order. */
  readonly #partition: readonly number[];
  readonly #clustering: readonly number[];

  constructor(
    table: Table,
    { columns, ttlSeconds }: { readonly columns: readonly ResultColumn[]; readonly ttlSeconds: number | null },
  ) {
    const computed = table.columns.map(({ name }) => name)
      .filter((name): name is Computed => name in COMPUTED && isComputable(name as Computed, columns));
    this.#names = [...columns.map(({ name }) => name), ...computed];
    const types = new Map(table.columns.map(({ name, type }) => [name, type]));
    const primary = new Set(table.columns.filter(({ kind }) => kind !== "regular").map(({ name }) => name));
    // A record's fields never change, so where one is null there is nothing that a null would have to delete.
    const unsetsNulls = isAppendOnly(columns);
    this.#sources = [
      ...columns.map((column, index) =>
        sourceOf(column, index, {
          encode: keptIn(column.type, types.get(column.name)!)!.encode,
          type: types.get(column.name)!,
          isPrimary: primary.has(column.name),
          unsetsNulls,
        })
      ),
      ...computed.map((name) => computedSource(name, columns)),
      timestampSource(columns),
    ];
    const positions = (kind: string) =>
      table.columns.filter((column) => column.kind === kind).sort((a, b) => a.position - b.position)
        .map(({ name }) => this.#names.indexOf(name));
    this.#partition = positions("partition_key");
    this.#clustering = positions("clustering");
    const key = [...this.#partition, ...this.#clustering].map((index) => `${quoted(this.#names[index])} = ?`);
    this.#delete = `DELETE FROM ${tableSql(table)} USING TIMESTAMP ? WHERE ${key.join(" AND ")}`;
    this.#insert = `INSERT INTO ${tableSql(table)} (${this.#names.map(quoted).join(", ")}) ` +
      `VALUES (${this.#names.map(() => "?").join(", ")}) USING TIMESTAMP ?` +
      (ttlSeconds === null ? "" : ` AND TTL ${ttlSeconds}`);
  }

  /** Or why Cassandra can never take the row. */
  encode(rows: ResultRows, row: number): EncodedRow | RefusedRow {
    const values = this.#sources.map((source) => source(rows, row));
    const reason = this.#keyFault(values);
    if (reason !== null) return { row, reason };
    const isGone = rows.origin?.tombstones?.has(row) === true;
    const parameters = isGone ? this.#keyOf(values) : values;
    let bytes = 0;
    for (const parameter of parameters) if (parameter instanceof Buffer) bytes += parameter.length;
    const statement = isGone ? this.#delete : this.#insert;
    return { row, statement, parameters, bytes, routingKey: this.#routingKey(values) };
  }

  /** Of a DELETE: the timestamp and the primary key. */
  #keyOf(values: readonly Parameter[]): Parameter[] {
    return [values[values.length - 1], ...[...this.#partition, ...this.#clustering].map((index) => values[index])];
  }

  #keyFault(parameters: readonly Parameter[]): string | null {
    let partitionBytes = 0;
    for (const index of this.#partition) {
      const fault = this.#columnFault(parameters, index);
      if (fault !== null) return fault;
      partitionBytes += (parameters[index] as Buffer).length + (this.#partition.length === 1 ? 0 : 3);
    }
    for (const index of this.#clustering) {
      const fault = this.#columnFault(parameters, index);
      if (fault !== null) return fault;
    }
    if (partitionBytes === 0) {
      return `${this.#names[this.#partition[0]]} is empty, which Cassandra does not take for a partition key`;
    }
    return partitionBytes <= KEY_BYTES_MAX
      ? null
      : `the partition key is ${partitionBytes} bytes long; Cassandra takes ${KEY_BYTES_MAX}`;
  }

  #columnFault(parameters: readonly Parameter[], index: number): string | null {
    const parameter = parameters[index];
    if (!(parameter instanceof Buffer)) return `${this.#names[index]} is null, and part of the primary key`;
    if (parameter.length <= KEY_BYTES_MAX) return null;
    return `${this.#names[index]} is ${parameter.length} bytes long; Cassandra takes ${KEY_BYTES_MAX} in a primary key`;
  }

  /** Of one column its bytes; of several each with its length before and a zero behind. */
  #routingKey(parameters: readonly Parameter[]): Buffer {
    if (this.#partition.length === 1) return parameters[this.#partition[0]] as Buffer;
    const parts: Buffer[] = [];
    for (const index of this.#partition) {
      const part = parameters[index] as Buffer;
      parts.push(Buffer.from([part.length >> 8, part.length & 0xff]), part, END);
    }
    return Buffer.concat(parts);
  }
}

const END = Buffer.from([0]);

function sourceOf(
  { role, type }: ResultColumn,
  index: number,
  { encode, type: cql, isPrimary, unsetsNulls }: {
    readonly encode: Encode;
    readonly type: string;
    readonly isPrimary: boolean;
    readonly unsetsNulls: boolean;
  },
): Source {
  const ofNull: Parameter = role === "key" && type.nullable && isPrimary
    ? emptyValue(cql)
    : unsetsNulls && !isPrimary
    ? driver.types.unset
    : null;
  // Neighbours mostly share a window, a partition and whether they are final.
  let last: ResultValue = null;
  let bytes: Parameter = ofNull;
  return ({ values }, row) => {
    const value: ResultValue = values[index][row];
    if (value === null) return ofNull;
    if (Object.is(value, last) && typeof value !== "object") return bytes;
    bytes = encode(value);
    last = value;
    return bytes;
  };
}

/** What stands in a primary key for a null; `null_keys` says that it is one. */
function emptyValue(cql: string): Buffer {
  const lengths: Readonly<Record<string, number>> = { uuid: 16, boolean: 1, int: 4, date: 4, text: 0, blob: 0 };
  if (cql === "decimal") return Buffer.from([0, 0, 0, 0, 0]);
  if (cql === "varint") return Buffer.from([0]);
  return Buffer.alloc(lengths[cql] ?? 8);
}

function isComputable(name: Computed, columns: readonly ResultColumn[]): boolean {
  if (name === "window_day") return columns.some(({ role }) => role === "window_start");
  if (name === "offset_block") return columns.some((column) => column.name === "kafka_offset");
  return columns.some(({ role }) => role === "key");
}

function computedSource(name: Computed, columns: readonly ResultColumn[]): Source {
  if (name === "window_day") {
    const start = columns.findIndex(({ role }) => role === "window_start");
    return ({ values }, row) => date(Math.floor(Number(values[start][row]) / DAY_MS));
  }
  if (name === "offset_block") {
    const offset = columns.findIndex((column) => column.name === "kafka_offset");
    return ({ values }, row) => long(Math.floor(Number(values[offset][row]) / OFFSETS_PER_BLOCK));
  }
  const keys = columns.flatMap(({ role }, index) => role === "key" ? [index] : []);
  return ({ values }, row) =>
    int(keys.reduce((bits, key, bit) => values[key][row] === null ? bits | 1 << bit : bits, 0));
}

function timestampSource(columns: readonly ResultColumn[]): Source {
  const revision = columns.findIndex(({ role }) => role === "revision");
  const final = columns.findIndex(({ role }) => role === "final");
  return ({ values }, row) =>
    long(timestampOf(values[revision][row] as number | bigint, final !== -1 && values[final][row] === true));
}

/** The timestamp of a row's write: exact in 64 bits, whatever the generation. */
export function timestampOf(revision: number | bigint, isFinal: boolean): number | bigint {
  if (typeof revision === "number" && revision <= EXACT_REVISION_MAX) return 2 * revision + (isFinal ? 1 : 0);
  return 2n * BigInt(revision) + (isFinal ? 1n : 0n);
}

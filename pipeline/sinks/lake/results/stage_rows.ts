/**
 * Result rows into DuckDB, a data chunk at a time: whole columns of numbers are copied, and only texts are given one by one.
 *
 * @module
 */
import {
  BIGINT,
  BLOB,
  BOOLEAN,
  DATE,
  DOUBLE,
  type DuckDBAppender,
  type DuckDBConnection,
  DuckDBDataChunk,
  type DuckDBType,
  TIMESTAMPTZ,
  VARCHAR,
} from "@duckdb/node-api";
import duckdb from "@duckdb/node-bindings";
import type { FieldType } from "../../../columns.ts";
import type { ResultColumn } from "../../../plan/plan.ts";
import { identifier } from "../../../sql_text.ts";
import type { ResultRows, ResultValue } from "../../sink.ts";

/** Rows of DuckDB's own chunks. */
const CHUNK_ROWS = 2_048;
/** After so many chunks others get their turn. */
const CHUNKS_AT_ONCE = 16;
/** The first and last microsecond, and day, that DuckDB's calendar has. */
const MICROS_MIN = -9_223_372_022_400_000_000n;
const MICROS_MAX = 9_223_372_036_854_775_806n;
const DAYS_MIN = -2_147_483_646;
const DAYS_MAX = 2_147_483_646;

/** How a column's values are put into a chunk. False: the value cannot be had in the lake, and is null there. */
interface Way {
  readonly type: DuckDBType;
  readonly make: () => {
    set(row: number, value: NonNullable<ResultValue>): boolean;
    readonly data: ArrayBuffer | null;
  };
}

/** A temporary table of a connection, for rows of these columns; it is gone with the connection. */
export class StagedRows implements Disposable {
  readonly #columns: readonly ResultColumn[];
  readonly #ways: readonly Way[];
  readonly #appender: DuckDBAppender;

  private constructor(columns: readonly ResultColumn[], appender: DuckDBAppender) {
    this.#columns = columns;
    this.#ways = columns.map(({ type }) => wayOf(type));
    this.#appender = appender;
  }

  /** Makes the table. Decimals are text in it, so a query casts them; all else has the lake's types. */
  static async create(
    connection: DuckDBConnection,
    table: string,
    columns: readonly ResultColumn[],
  ): Promise<StagedRows> {
    const definition = columns.map(({ name, type }) => `${identifier(name)} ${wayOf(type).type}`);
    await connection.run(`CREATE TEMP TABLE ${identifier(table)} (${definition.join(", ")})`);
    return new StagedRows(columns, await connection.createAppender(table, "main", "temp"));
  }

  /** Puts rows in. They are in the table once `finish` was called. @throws the signal's reason */
  async append(rows: ResultRows, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    let chunks = 0;
    for (let from = 0; from < rows.length; from += CHUNK_ROWS) {
      this.#appender.appendDataChunk(this.#chunk(rows, from, Math.min(rows.length, from + CHUNK_ROWS)));
      if (++chunks % CHUNKS_AT_ONCE === 0) {
        await new Promise((resolve) => setTimeout(resolve, 0));
        signal.throwIfAborted();
      }
    }
  }

  finish(): void {
    this.#appender.flushSync();
  }

  [Symbol.dispose](): void {
    this.#appender.closeSync();
  }

  #chunk(rows: ResultRows, from: number, to: number): DuckDBDataChunk {
    const made = DuckDBDataChunk.create(this.#ways.map(({ type }) => type), to - from);
    for (let column = 0; column < this.#columns.length; column++) {
      const vector = duckdb.data_chunk_get_vector(made.chunk, column);
      fill(vector, { values: rows.values[column], from, to, way: this.#ways[column] });
    }
    return made;
  }
}

function fill(
  vector: duckdb.Vector,
  { values, from, to, way }: {
    readonly values: readonly ResultValue[];
    readonly from: number;
    readonly to: number;
    readonly way: Way;
  },
): void {
  const isText = way.type === VARCHAR || way.type === BLOB;
  // In words of 64 bits, a bit for each row that has a value.
  const valid = new Uint8Array(CHUNK_ROWS / 8).fill(0xff);
  let isFull = true;
  const { set, data } = way.make();
  for (let row = from; row < to; row++) {
    const value = values[row];
    const isSet = value !== null && (isText ? setText(vector, row - from, value) : set(row - from, value));
    if (isSet) continue;
    isFull = false;
    valid[(row - from) >> 3] &= ~(1 << ((row - from) & 7));
  }
  if (!isFull) {
    duckdb.vector_ensure_validity_writable(vector);
    duckdb.copy_data_to_vector_validity(vector, 0, valid.buffer, 0, 8 * Math.ceil((to - from) / 64));
  }
  if (data !== null) duckdb.copy_data_to_vector(vector, 0, data, 0, (data.byteLength / CHUNK_ROWS) * (to - from));
}

const encoder = new TextEncoder();
let scratch = new Uint8Array(1024);

function setText(vector: duckdb.Vector, row: number, value: NonNullable<ResultValue>): boolean {
  if (typeof value !== "string") {
    duckdb.vector_assign_string_element_len(vector, row, value as Uint8Array);
    return true;
  }
  if (3 * value.length > scratch.length) scratch = new Uint8Array(6 * value.length);
  const { written } = encoder.encodeInto(value, scratch);
  duckdb.vector_assign_string_element_len(vector, row, scratch.subarray(0, written));
  return true;
}

function wayOf(type: FieldType): Way {
  switch (type.type) {
    case "boolean":
      return { type: BOOLEAN, make: () => bytes() };
    case "int":
    case "long":
    case "time-micros":
      return { type: BIGINT, make: () => longs({ factor: 1n }) };
    case "time-millis":
      return { type: BIGINT, make: () => longs({ factor: 1000n }) };
    case "timestamp-micros":
      return { type: TIMESTAMPTZ, make: () => longs({ factor: 1n, least: MICROS_MIN, most: MICROS_MAX }) };
    case "timestamp-millis":
      return { type: TIMESTAMPTZ, make: () => longs({ factor: 1000n, least: MICROS_MIN, most: MICROS_MAX }) };
    case "float":
    case "double":
      return { type: DOUBLE, make: doubles };
    case "date":
      return { type: DATE, make: days };
    case "bytes":
      return { type: BLOB, make: texts };
    case "string":
    case "enum":
    case "uuid":
    case "decimal":
      return { type: VARCHAR, make: texts };
  }
}

function bytes(): ReturnType<Way["make"]> {
  const array = new Uint8Array(CHUNK_ROWS);
  return {
    data: array.buffer,
    set(row, value) {
      array[row] = value === true ? 1 : 0;
      return true;
    },
  };
}

const LONG_MIN = -(2n ** 63n);
const LONG_MAX = 2n ** 63n - 1n;

function longs(
  { factor, least = LONG_MIN, most = LONG_MAX }: {
    readonly factor: bigint;
    readonly least?: bigint;
    readonly most?: bigint;
  },
): ReturnType<Way["make"]> {
  const array = new BigInt64Array(CHUNK_ROWS);
  return {
    data: array.buffer,
    set(row, value) {
      const long = BigInt(value as number | bigint) * factor;
      if (long < least || long > most) return false;
      array[row] = long;
      return true;
    },
  };
}

function doubles(): ReturnType<Way["make"]> {
  const array = new Float64Array(CHUNK_ROWS);
  return {
    data: array.buffer,
    set(row, value) {
      array[row] = value as number;
      return true;
    },
  };
}

function days(): ReturnType<Way["make"]> {
  const array = new Int32Array(CHUNK_ROWS);
  return {
    data: array.buffer,
    set(row, value) {
      array[row] = value as number;
      return (value as number) >= DAYS_MIN && (value as number) <= DAYS_MAX;
    },
  };
}

function texts(): ReturnType<Way["make"]> {
  return { data: null, set: () => true };
}

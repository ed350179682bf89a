/**
 * Reads back what is in a table that a definition names: the row of a key, or a key's windows, newest first.
 *
 *     SELECT .. WHERE keys = ? [AND window_day = ?] [AND null_keys = 0] [AND window_start >= ? AND window_start < ?]
 *
 * A table with `window_day` in its partition key is read day by day, some days at a time.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import driver from "cassandra-driver";
import type { FieldType } from "../../columns.ts";
import type { ResultColumn } from "../../plan/plan.ts";
import type { ResultRows, ResultValue } from "../sink.ts";
import { sortedError } from "./errors.ts";
import type { CassandraSession } from "./session.ts";
import { quoted } from "./statements.ts";
import { qualified, readTable, type Table, tableSql } from "./table.ts";
import { date, int, keptIn, long } from "./types.ts";

/** Days that one page looks through, and those that are asked for at a time. */
export const DAYS_MAX = 92;
const DAYS_AT_A_TIME = 8;
const DAY_MS = 86_400_000;
/** A page that takes longer is given up. */
const ANSWER_MS_MAX = 10_000;

/** A table as a definition names it, and what is in it. */
export interface ReadableTable {
  readonly table: string;
  readonly keyspace: string | null;
  readonly columns: readonly ResultColumn[];
}

export interface CassandraQuery {
  /** A value for each key column, in order. */
  readonly key: readonly NonNullable<ResultValue>[];
  /** Windows that start at `from` or later and before `to`, milliseconds since the epoch; of tables that have windows. */
  readonly fromMs: number | null;
  readonly toMs: number | null;
  readonly limit: number;
  /** Only windows that start before this, beside `toMs`: where the page before ended. */
  readonly beforeMs: number | null;
}

/** A question that the table as it is cannot answer. */
export class CassandraQueryError extends Error {
  override readonly name = "CassandraQueryError";
}

/** True when there are windows, which `from` and `to` are about. */
export function hasWindows(columns: readonly ResultColumn[]): boolean {
  return columns.some(({ role }) => role === "window_start");
}

/**
 * The rows of a page, newest window first.
 *
 * @throws CassandraQueryError when the table's primary key does not let itself be asked so
 * @throws UnavailableError when Cassandra is away; ConfigError when there is none, or the table is not there
 */
export async function readRows(
  session: CassandraSession,
  { table: name, keyspace, columns }: ReadableTable,
  query: CassandraQuery,
): Promise<ResultRows> {
  const client = await session.client();
  const named = { keyspace: keyspace ?? session.keyspace!, name };
  try {
    const table = await readTable(client, named);
    const rows = table === null ? [] : await pages(client, table, { columns, query });
    return {
      columns,
      length: rows.length,
      values: columns.map((column) => rows.map((row) => valueOf(row.get(column.name), column.type))),
    };
  } catch (error) {
    throw error instanceof CassandraQueryError ? error : sortedError(error, qualified(named));
  }
}

interface Asked {
  readonly columns: readonly ResultColumn[];
  readonly query: CassandraQuery;
}

async function pages(client: driver.Client, table: Table, asked: Asked): Promise<driver.types.Row[]> {
  const { columns, query: { fromMs, toMs, beforeMs, limit } } = asked;
  const primary = (kind: string) =>
    table.columns.filter((column) => column.kind === kind).sort((a, b) => a.position - b.position);
  const partition = primary("partition_key");
  const clustering = primary("clustering");
  const isWindowed = hasWindows(columns);
  if (!partition.some(({ name }) => name === "window_day")) {
    return await select(client, table, asked, { partition, clustering, day: null, limit });
  }
  if (!isWindowed || fromMs === null || toMs === null) throw new Error(`${table.name} is asked for without days`);
  const last = Math.floor((Math.min(toMs, beforeMs ?? Infinity) - 1) / DAY_MS);
  const first = Math.floor(fromMs / DAY_MS);
  const rows: driver.types.Row[] = [];
  for (let day = last; day >= first && rows.length < limit; day -= DAYS_AT_A_TIME) {
    const count = Math.min(DAYS_AT_A_TIME, day - first + 1);
    const found = await Promise.all(
      Array.from(
        { length: count },
        (_, back) =>
          select(client, table, asked, { partition, clustering, day: day - back, limit: limit - rows.length }),
      ),
    );
    rows.push(...found.flat());
  }
  return rows.slice(0, limit);
}

async function select(
  client: driver.Client,
  table: Table,
  { columns, query }: Asked,
  { partition, clustering, day, limit }: {
    readonly partition: Table["columns"];
    readonly clustering: Table["columns"];
    readonly day: number | null;
    readonly limit: number;
  },
): Promise<driver.types.Row[]> {
  const keys = columns.filter(({ role }) => role === "key");
  const windowStart = columns.find(({ role }) => role === "window_start");
  const conditions: string[] = [];
  const values: Buffer[] = [];
  const add = (condition: string, value: Buffer) => {
    conditions.push(condition);
    values.push(value);
  };
  let order = "";
  for (const { name, type, kind } of [...partition, ...clustering]) {
    const key = keys.findIndex((column) => column.name === name);
    if (key !== -1) add(`${quoted(name)} = ?`, keptIn(keys[key].type, type)!.encode(query.key[key]));
    else if (name === "null_keys") add(`${name} = ?`, int(0));
    else if (name === "window_day") add(`${name} = ?`, date(day!));
    else if (windowStart?.name === name && kind === "clustering") {
      const { fromMs, toMs, beforeMs } = query;
      const before = Math.min(toMs ?? Infinity, beforeMs ?? Infinity);
      if (fromMs !== null) add(`${quoted(name)} >= ?`, long(fromMs));
      if (before !== Infinity) add(`${quoted(name)} < ?`, long(before));
      if (name === clustering[0].name) order = ` ORDER BY ${quoted(name)} DESC`;
      else throw new CassandraQueryError(`${qualified(table)} is not kept in the order of its windows`);
    } else {
      throw new CassandraQueryError(`${qualified(table)} has ${name} in its primary key, which nothing here asks for`);
    }
  }
  const { rows } = await client.execute(
    `SELECT ${columns.map(({ name }) => quoted(name)).join(", ")} FROM ${tableSql(table)} ` +
      `WHERE ${conditions.join(" AND ")}${order} LIMIT ${limit}`,
    values,
    { prepare: true, fetchSize: limit, readTimeout: ANSWER_MS_MAX },
  );
  return rows;
}

/** A value as the driver gives it, as sinks are given it. */
export function valueOf(value: unknown, { type }: FieldType): ResultValue {
  if (value === null || value === undefined) return null;
  if (typeof value === "bigint") return whole(value);
  switch (type) {
    case "date":
      return daysOf(value as DriverDate);
    case "time-millis":
      return Number(nanosOf(value) / 1_000_000n);
    case "time-micros":
      return Number(nanosOf(value) / 1_000n);
    case "timestamp-millis":
      return value instanceof Date ? value.getTime() : Number(value);
    case "timestamp-micros":
      return value instanceof Date ? whole(BigInt(value.getTime()) * 1_000n) : Number(value);
    case "uuid":
    case "decimal":
      return String(value);
    case "bytes":
      return new Uint8Array(value as Uint8Array);
    default:
      return value as ResultValue;
  }
}

/** The driver's `LocalDate`: of days that JavaScript's dates do not reach, their number. */
interface DriverDate {
  readonly date: Date | null;
  readonly _value: number | null;
}

function daysOf({ date, _value }: DriverDate): number {
  return date === null ? _value! : Math.round(date.getTime() / DAY_MS);
}

function whole(value: bigint): number | bigint {
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

/** Of `HH:MM:SS[.fffffffff]`. */
function nanosOf(value: unknown): bigint {
  const [, hours, minutes, seconds, part = ""] = /^(\d+):(\d+):(\d+)(?:\.(\d+))?$/.exec(String(value))!;
  const whole = (Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds);
  return BigInt(whole) * 1_000_000_000n + BigInt(part.padEnd(9, "0"));
}

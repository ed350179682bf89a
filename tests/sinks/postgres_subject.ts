import postgres from "postgres";
import type { FieldType } from "../../pipeline/columns.ts";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import { createPostgresSink, type PostgresSinkOptions } from "../../pipeline/sinks/postgres.ts";
import { identifier } from "../../pipeline/sql_text.ts";
import type { ResultValue } from "../../pipeline/sinks/sink.ts";
import type { MakeSubject } from "../contracts/sink_contract.ts";
import type { PostgresServer } from "./postgres_server.ts";

let tables = 0;

/** A client that opens a connection for each use and leaves none behind. */
export async function withClient<T>(url: string, use: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => {} });
  try {
    return await use(sql);
  } finally {
    await sql.end();
  }
}

/** A table of its own on the server, read back without the sink. */
export function postgresSubject(
  server: () => PostgresServer,
  options: Partial<PostgresSinkOptions> = {},
): MakeSubject {
  return async (columns) => {
    const table = `contract_${tables++}`;
    const sink = await createPostgresSink({ url: server().url, ...options, table, columns });
    return {
      sink,
      read: () => withClient(server().url, (sql) => readTable(sql, table, columns)),
      outage: {
        begin: () => server().stop(),
        end: () => server().start(),
        interrupt: () =>
          withClient(server().url, async (sql) => {
            await sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tailrace'`;
          }),
      },
      async [Symbol.asyncDispose]() {
        await sink[Symbol.asyncDispose]();
        await server().start();
      },
    };
  };
}

/** Every row, each value as sinks are given it. */
export async function readTable(
  sql: postgres.Sql,
  table: string,
  columns: readonly ResultColumn[],
): Promise<ResultValue[][]> {
  const list = columns.map(({ name, type }) => textOf(identifier(name), type)).join(", ");
  const rows = await sql.unsafe(`SELECT ${list} FROM ${identifier(table)}`).values() as (string | null)[][];
  return rows.map((row) => row.map((text, index) => text === null ? null : valueOf(text, columns[index].type)));
}

function textOf(column: string, { type }: FieldType): string {
  switch (type) {
    case "date":
      return `(${column} - DATE '1970-01-01')::text`;
    case "time-millis":
    case "timestamp-millis":
      return `trim_scale(extract(epoch FROM ${column})::numeric * 1000)::text`;
    case "time-micros":
    case "timestamp-micros":
      return `trim_scale(extract(epoch FROM ${column})::numeric * 1000000)::text`;
    case "bytes":
      return `encode(${column}, 'hex')`;
    default:
      return `${column}::text`;
  }
}

function valueOf(text: string, { type }: FieldType): ResultValue {
  switch (type) {
    case "boolean":
      return text === "true";
    case "string":
    case "enum":
    case "uuid":
    case "decimal":
      return text;
    case "bytes":
      return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
    case "float":
      return Math.fround(Number(text));
    case "long":
    case "timestamp-millis":
    case "timestamp-micros":
      return Number.isSafeInteger(Number(text)) ? Number(text) : BigInt(text);
    default:
      return Number(text);
  }
}

/** A new database with a client to it, further clients on demand, and its URL; all gone afterwards. */
export async function withDatabase(
  url: string,
  use: (sql: postgres.Sql, another: () => Promise<postgres.Sql>, url: string) => Promise<void>,
): Promise<void> {
  const name = `test_${crypto.randomUUID().replaceAll("-", "")}`;
  await withClient(url, (sql) => sql.unsafe(`CREATE DATABASE ${name}`));
  const own = new URL(url);
  own.pathname = `/${name}`;
  const clients: postgres.Sql[] = [];
  const another = async () => {
    const sql = postgres(own.href, { max: 1, fetch_types: false, onnotice: () => {} });
    clients.push(sql);
    await sql`SELECT 1`;
    return sql;
  };
  try {
    await use(await another(), another, own.href);
  } finally {
    await Promise.all(clients.map((sql) => sql.end({ timeout: 1 })));
    await withClient(url, (sql) => sql.unsafe(`DROP DATABASE ${name} WITH (FORCE)`));
  }
}

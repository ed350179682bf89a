import { fileURLToPath } from "node:url";
import type postgres from "postgres";
import type { FieldType } from "../../pipeline/columns.ts";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import { migrate } from "../../pipeline/sinks/migrate.ts";
import { claimOwnership } from "../../pipeline/sinks/ownership.ts";
import { createPostgresSink, type PostgresSinkOptions } from "../../pipeline/sinks/postgres.ts";
import { identifier } from "../../pipeline/sql_text.ts";
import type { ResultValue } from "../../pipeline/sinks/sink.ts";
import type { MakeSubject } from "../contracts/sink_contract.ts";
import { Proxy } from "../log/proxy.ts";
import type { PostgresServer } from "./postgres_server.ts";

let tables = 0;

/** A client that opens a connection for each use and leaves none behind. */
export async function withClient<T>(url: string, use: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgresClient(url);
  try {
    return await use(sql);
  } finally {
    await sql.end();
  }
}

const MIGRATIONS = fileURLToPath(new URL("../../migrations", import.meta.url));

/** A proxy before a server, that can forget the answer to a write. */
class BeforePostgres implements AsyncDisposable {
  #proxy: Proxy;
  readonly #server: URL;
  readonly port: number;
  /** The next answer that tells of rows written is lost, and the connection with it. */
  losesAnswer = false;

  constructor(url: string) {
    this.#server = new URL(url);
    this.#proxy = this.#listen(0);
    this.port = Number(this.#proxy.address.split(":")[1]);
  }

  get url(): string {
    const url = new URL(this.#server);
    url.port = String(this.port);
    return url.href;
  }

  /** Nobody listens any more. */
  async close(): Promise<void> {
    await this.#proxy[Symbol.asyncDispose]();
  }

  open(): void {
    this.#proxy = this.#listen(this.port);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #listen(port: number): Proxy {
    const { hostname } = this.#server;
    const proxy = new Proxy({ hostname, port }, { hostname, port: Number(this.#server.port) });
    proxy.onAnswer = (chunk) => {
      if (!this.losesAnswer || !/COPY \d|INSERT 0 \d/.test(new TextDecoder("latin1").decode(chunk))) return "pass";
      this.losesAnswer = false;
      return "cut";
    };
    return proxy;
  }
}

/** A table of its own on the server, read back without the sink; each sink has the pipeline for itself. */
export function postgresSubject(
  server: () => PostgresServer,
  options: Partial<PostgresSinkOptions> = {},
): MakeSubject {
  return async (columns) => {
    const table = `contract_${tables++}`;
    const { url } = server();
    const parts = new AsyncDisposableStack();
    const proxy = parts.use(new BeforePostgres(url));
    let processes = 0;
    const open = async () => {
      const token = await withClient(url, async (sql) => {
        await migrate(sql, MIGRATIONS);
        return (await claimOwnership(sql, { pipeline: table, process: `host:${++processes}` })).token;
      });
      const fence = { pipeline: table, token };
      return parts.use(await createPostgresSink({ url: proxy.url, ...options, table, columns, fence }));
    };
    return {
      sink: await open(),
      reopen: open,
      loseAnswer: () => proxy.losesAnswer = true,
      read: () => withClient(url, (sql) => readTable(sql, table, columns)),
      outage: {
        begin: async () => {
          await proxy.close();
          await server().stop();
        },
        end: async () => {
          await server().start();
          proxy.open();
        },
        interrupt: () =>
          withClient(url, async (sql) => {
            await sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tailrace'`;
          }),
      },
      async [Symbol.asyncDispose]() {
        await parts.disposeAsync();
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
    const sql = postgresClient(own.href);
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

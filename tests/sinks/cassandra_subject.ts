import driver from "cassandra-driver";
import type { FieldType } from "../../pipeline/columns.ts";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import type { CassandraOptions } from "../../pipeline/sinks/cassandra/options.ts";
import { CassandraSession } from "../../pipeline/sinks/cassandra/session.ts";
import { createCassandraSink } from "../../pipeline/sinks/cassandra/sink.ts";
import { assertOwner, claimOwnership } from "../../pipeline/sinks/ownership.ts";
import type { ResultValue } from "../../pipeline/sinks/sink.ts";
import type { MakeSubject } from "../contracts/sink_contract.ts";
import { Proxy } from "../log/proxy.ts";
import type { BorrowedCassandra } from "../servers/cassandra.ts";
import { withClient as withPostgres } from "./postgres_subject.ts";

/** A keyspace for tests, made by whoever comes first. */
export const KEYSPACE = "tests";

/** Of this run alone: a node that is not fresh may have rows of an earlier one. */
const RUN = Date.now().toString(36);

let tables = 0;

/** Options for a server without passwords and TLS. */
export function optionsFor(address: string, more: Partial<CassandraOptions> = {}): CassandraOptions {
  return { contactPoints: [address], datacenter: null, keyspace: KEYSPACE, credentials: null, tls: null, ...more };
}

/** A client of its own, which is none of the sink's. */
export async function withCassandra<T>(address: string, use: (client: driver.Client) => Promise<T>): Promise<T> {
  const client = new driver.Client({
    contactPoints: [address],
    localDataCenter: "datacenter1",
    encoding: { useBigIntAsLong: true, useBigIntAsVarint: true },
  });
  try {
    await client.connect();
    return await use(client);
  } finally {
    await client.shutdown();
  }
}

/** A proxy before a server, that can forget the answer to a write. */
class BeforeCassandra implements AsyncDisposable {
  #proxy: Proxy;
  readonly #target: Deno.ConnectOptions & { hostname: string };
  readonly port: number;
  /** The next answer without rows, which is one to a write, is lost, and the connection with it. */
  losesAnswer = false;

  constructor(address: string) {
    const [hostname, port] = address.split(":");
    this.#target = { hostname, port: Number(port) };
    this.#proxy = this.#listen(0);
    this.port = Number(this.#proxy.address.split(":")[1]);
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async close(): Promise<void> {
    await this.#proxy[Symbol.asyncDispose]();
  }

  open(): void {
    this.#proxy = this.#listen(this.port);
  }

  cut(): void {
    this.#proxy.cut();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #listen(port: number): Proxy {
    const proxy = new Proxy({ hostname: "127.0.0.1", port }, this.#target);
    proxy.onAnswer = (chunk) => {
      if (!this.losesAnswer || !hasVoidResult(chunk)) return "pass";
      this.losesAnswer = false;
      return "cut";
    };
    return proxy;
  }
}

/** version, flags, stream (2), opcode RESULT, length 4, kind Void. */
function hasVoidResult(chunk: Uint8Array): boolean {
  const wanted = [0x08, 0, 0, 0, 4, 0, 0, 0, 1];
  for (let at = 0; at + wanted.length <= chunk.length; at++) {
    if (wanted.every((byte, index) => chunk[at + index] === byte)) return true;
  }
  return false;
}

/** A table of its own on the server, read back without the sink. Who owns it is said by PostgreSQL. */
export function cassandraSubject(
  server: () => BorrowedCassandra,
  { postgresUrl }: { readonly postgresUrl: () => string },
): MakeSubject {
  return async (columns) => {
    const table = `contract_${RUN}_${tables++}`;
    const parts = new AsyncDisposableStack();
    const proxy = parts.use(new BeforeCassandra(server().address));
    let processes = 0;
    const open = async () => {
      const process = `host:${++processes}`;
      const { token } = await withPostgres(
        postgresUrl(),
        (sql) => claimOwnership(sql, { pipeline: table, process }),
      );
      const session = parts.use(new CassandraSession({ options: optionsFor(proxy.address) }));
      const fence = { pipeline: table, token };
      return parts.use(
        await createCassandraSink({
          session,
          table,
          columns,
          assertOwner: () => withPostgres(postgresUrl(), (sql) => assertOwner(sql, fence)),
        }),
      );
    };
    return {
      sink: await open(),
      reopen: open,
      loseAnswer: () => proxy.losesAnswer = true,
      read: () => withCassandra(server().address, (client) => readTable(client, `${KEYSPACE}.${table}`, columns)),
      outage: {
        begin: () => {
          return proxy.close();
        },
        end: () => {
          proxy.open();
          return Promise.resolve();
        },
        interrupt: () => {
          proxy.cut();
          return Promise.resolve();
        },
      },
      async [Symbol.asyncDispose]() {
        await parts.disposeAsync();
      },
    };
  };
}

/** Every row, each value as sinks are given it. */
export async function readTable(
  client: driver.Client,
  table: string,
  columns: readonly ResultColumn[],
): Promise<ResultValue[][]> {
  const keys = columns.filter(({ role }) => role === "key");
  const hasNullKeys = keys.some(({ type }) => type.nullable);
  const names = [...columns.map(({ name }) => `"${name}"`), ...(hasNullKeys ? ["null_keys"] : [])];
  const rows: ResultValue[][] = [];
  const found = client.stream(`SELECT ${names.join(", ")} FROM ${table}`, [], { prepare: true, fetchSize: 5_000 });
  for await (const row of found as unknown as AsyncIterable<driver.types.Row>) {
    const nullKeys: number = hasNullKeys ? row.get("null_keys") : 0;
    rows.push(columns.map((column) => {
      const isNullKey = column.role === "key" && (nullKeys >> keys.indexOf(column) & 1) === 1;
      const value = row.get(column.name);
      return value === null || isNullKey ? null : valueOf(value, column.type);
    }));
  }
  return rows;
}

// deno-lint-ignore no-explicit-any -- the driver's values have a class for each type of Cassandra
function valueOf(value: any, { type }: FieldType): ResultValue {
  const number = (whole: bigint) => Number.isSafeInteger(Number(whole)) ? Number(whole) : whole;
  switch (type) {
    case "string":
    case "enum":
    case "boolean":
    case "int":
    case "double":
      return value;
    case "float":
      return Math.fround(value);
    case "uuid":
    case "decimal":
      return value.toString();
    case "bytes":
      return new Uint8Array(value);
    case "date":
      return value._value ?? Math.round(value.date.getTime() / 86_400_000);
    case "time-millis":
      return Number(value.getTotalNanoseconds?.() ?? value.value.toString()) / 1e6;
    case "time-micros":
      return Number(value.getTotalNanoseconds?.() ?? value.value.toString()) / 1e3;
    case "timestamp-millis":
      return value.getTime();
    case "long":
    case "timestamp-micros":
      return number(value);
  }
}

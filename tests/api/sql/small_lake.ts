/**
 * A catalog over a few Parquet files of a folder: what questions in SQL are put to in tests.
 *
 * @module
 */
import { DuckDBInstance } from "@duckdb/node-api";
import { join } from "node:path";
import type {
  Capture,
  CapturedRelation,
  Completeness,
  RelationColumn,
  RelationName,
  SqlCatalog,
} from "../../../api/sql/catalog.ts";
import { QueryError } from "../../../api/deps.ts";
import { createSqlService, type SqlServiceOptions } from "../../../api/sql/sql_service.ts";
import type { Format, Parameter, SqlService } from "../../../api/sql/service.ts";
import { systemClock } from "../../../pipeline/clock.ts";

export const COMPLETENESS: readonly Completeness[] = [
  { topic: "transactions", offsets: { 0: 500, 1: 500 }, watermark: "2026-11-21T00:10:00.000Z" },
];

/** Rows of `lake.transactions`, in two files of two days. */
export const TRANSACTIONS = 1_000;

const COLUMNS: readonly RelationColumn[] = [
  { name: "account_id", type: "VARCHAR" },
  { name: "amount", type: "DECIMAL(18,2)" },
  { name: "at", type: "TIMESTAMP WITH TIME ZONE" },
  { name: "note", type: "VARCHAR" },
  { name: "day", type: "DATE" },
];

export interface SmallLake extends AsyncDisposable {
  readonly folder: string;
  readonly catalog: SqlCatalog;
  /** What has been captured and not let go of. */
  readonly held: () => number;
  readonly captured: readonly RelationName[];
}

/**
 * `lake.transactions` with an earlier version 0 (the first day only), `results.account_minute` without any file, and `ledger`. The
 * file of the second day lacks `note`.
 */
export async function smallLake(): Promise<SmallLake> {
  const folder = await Deno.makeTempDir({ prefix: "tailrace_sql_" });
  const first = join(folder, "day1.parquet");
  const second = join(folder, "day2.parquet");
  const ledger = join(folder, "ledger.parquet");
  const instance = await DuckDBInstance.create(":memory:", { threads: "1" });
  const connection = await instance.connect();
  await connection.run("SET TimeZone = 'UTC'");
  const rows = (day: string, more: string) =>
    `SELECT 'A-' || lpad((i % 10)::VARCHAR, 2, '0') AS account_id, (i * 0.25)::DECIMAL(18, 2) AS amount, ` +
    `TIMESTAMPTZ '${day} 00:00:00Z' + to_seconds(i::BIGINT) AS at${more} FROM range(${TRANSACTIONS / 2}) t(i)`;
  await connection.run(`COPY (${rows("2026-11-20", ", 'n' || i AS note")}) TO '${first}' (FORMAT parquet)`);
  await connection.run(`COPY (${rows("2026-11-21", "")}) TO '${second}' (FORMAT parquet)`);
  await connection.run(
    `COPY (SELECT 'account_minute' AS pipeline, 0 AS partition, 1000::BIGINT AS consumed) TO '${ledger}' (FORMAT parquet)`,
  );
  connection.closeSync();
  instance.closeSync();
  const captured: RelationName[] = [];
  let held = 0;
  const relation = (name: RelationName): CapturedRelation => {
    captured.push(name);
    const file = (path: string, day: string) => ({ path, partitions: { day } });
    const days = [file(first, "2026-11-20"), file(second, "2026-11-21")];
    switch (`${name.schema}.${name.name}`) {
      case "lake.transactions":
        return { name, columns: COLUMNS, files: name.at === undefined ? days : days.slice(0, 1) };
      case "results.account_minute":
        return { name, columns: [{ name: "account_id", type: "VARCHAR" }, { name: "n", type: "BIGINT" }], files: [] };
      case "null.ledger":
        return {
          name,
          columns: [
            { name: "pipeline", type: "VARCHAR" },
            { name: "partition", type: "INTEGER" },
            { name: "consumed", type: "BIGINT" },
          ],
          files: [{ path: ledger, partitions: {} }],
        };
    }
    const shown = name.schema === null ? name.name : `${name.schema}.${name.name}`;
    throw new QueryError("sql", `there is no ${shown}: GET /v1/sql/relations lists what there is`);
  };
  return {
    folder,
    captured,
    held: () => held,
    catalog: {
      relations: () =>
        Promise.resolve([{ schema: "lake", name: "transactions", columns: COLUMNS, about: "Payments." }]),
      capture: (names) => {
        try {
          const relations = names.map(relation);
          held++;
          return Promise.resolve<Capture>({
            relations,
            completeness: COMPLETENESS,
            notes: [],
            [Symbol.asyncDispose]: () => Promise.resolve(void held--),
          });
        } catch (error) {
          return Promise.reject(error);
        }
      },
    },
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

export interface Asked extends SmallLake {
  readonly service: SqlService;
  readonly logged: string[];
  /** The answer's rows as JSON has them. */
  rows(sql: string, parameters?: Record<string, Parameter>): Promise<Record<string, unknown>[]>;
  /** The whole answer. */
  bytes(sql: string, format: Format, options?: { readonly limit?: number }): Promise<Uint8Array>;
}

/** A service over a small lake, with limits that tests reach soon. */
export async function askedLake(limits: SqlServiceOptions["limits"] = {}): Promise<Asked> {
  const lake = await smallLake();
  const logged: string[] = [];
  const log = (message: string) => void logged.push(message);
  const service = createSqlService({ catalog: lake.catalog, clock: systemClock, limits, log });
  const { signal } = new AbortController();
  const bytes: Asked["bytes"] = async (sql, format, { limit } = {}) => {
    const { body } = await service.ask({ sql, format, limit }, { signal });
    return await new Response(body).bytes();
  };
  return {
    ...lake,
    service,
    logged,
    bytes,
    rows: async (sql, parameters) => {
      const { body } = await service.ask({ sql, parameters, format: "json" }, { signal });
      return (await new Response(body).json()).rows;
    },
    async [Symbol.asyncDispose]() {
      await service[Symbol.asyncDispose]();
      await lake[Symbol.asyncDispose]();
    },
  };
}

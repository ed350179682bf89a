/**
 * A pipeline's table in PostgreSQL as an audit sees it: a digest for each window, the rows of some windows, and what puts them
 * right.
 *
 * @module
 */
import type postgres from "postgres";
import type { ResultColumn } from "../plan/plan.ts";
import type { Fence } from "../sinks/ownership.ts";
import { arrayLiteral, travel } from "../sinks/postgres_array.ts";
import { sortedError } from "../sinks/postgres_errors.ts";
import { keyColumns, UPDATED_AT } from "../sinks/postgres_table.ts";
import { tableName } from "../sinks/postgres_types.ts";
import type { ResultRows, ResultValue } from "../sinks/sink.ts";
import { identifier } from "../sql_text.ts";
import { indexOf, TooManyRowsError } from "./expected_rows.ts";
import type { WindowRange } from "./expected_sql.ts";
import { fromPostgres, postgresExpression } from "./result_values.ts";

/** How long a statement may take before it is given up: what is asked for is bounded, so the server is busy with other things. */
const STATEMENT_MS_MAX = 20_000;

/** What a window's rows come to: their number, and the sum of their hashes. */
export interface WindowDigest {
  readonly windowStartMs: number;
  readonly rows: number;
  readonly digest: string;
}

/** Rows as they are; `digests[r]` stands for all of row r. */
export interface StoredRows {
  readonly rows: ResultRows;
  readonly digests: readonly bigint[];
}

/** What puts a table right: rows that are wrong or missing as they must be, and rows that must not be there. */
export interface Repair {
  readonly rewritten: readonly { readonly row: number; readonly digest: bigint }[];
  readonly inserted: readonly number[];
  /** Indexes into `is`. */
  readonly deleted: readonly { readonly row: number; readonly digest: bigint }[];
  /** Rows as they must be. */
  readonly must: ResultRows;
  readonly is: ResultRows;
}

export interface Repaired {
  readonly rewritten: number;
  readonly inserted: number;
  readonly deleted: number;
}

/** All methods throw UnavailableError when the server is away or too busy, and ConfigError when it refuses. */
export class PostgresResults {
  readonly name: string;
  readonly #sql: postgres.Sql;
  readonly #columns: readonly ResultColumn[];
  readonly #table: string;
  readonly #start: string;
  /** Of a row of the table `t`. */
  readonly #hash: string;

  constructor(sql: postgres.Sql, { table, columns }: { table: string; columns: readonly ResultColumn[] }) {
    this.name = table;
    this.#sql = sql;
    this.#columns = columns;
    this.#table = tableName(table).sql;
    this.#start = identifier(columns[indexOf(columns, "window_start")].name);
    this.#hash = `hash_record_extended(ROW(${columns.map(({ name }) => `t.${identifier(name)}`).join(", ")}), 0)`;
  }

  /** Of each window with rows in a range, oldest first. */
  async digests({ fromMs, toMs }: WindowRange): Promise<WindowDigest[]> {
    const rows = await this.#ask(
      `SELECT (extract(epoch FROM t.${this.#start}) * 1000)::bigint::text, count(*)::text, sum(${this.#hash})::text
FROM ${this.#table} AS t WHERE ${this.#within({ fromMs, toMs })} GROUP BY t.${this.#start} ORDER BY t.${this.#start}`,
    );
    return rows.map(([start, count, digest]) => ({
      windowStartMs: Number(start),
      rows: Number(count),
      digest: String(digest),
    }));
  }

  /** The start of the window that has the `count`-th row before `beforeMs`, counted back; null when there are fewer. */
  async backFrom(beforeMs: number, count: number): Promise<number | null> {
    const rows = await this.#ask(`SELECT (extract(epoch FROM t.${this.#start}) * 1000)::bigint::text
FROM ${this.#table} AS t WHERE t.${this.#start} < ${
      instant(beforeMs)
    } ORDER BY t.${this.#start} DESC OFFSET ${count} LIMIT 1`);
    return rows.length === 0 ? null : Number(rows[0][0]);
  }

  /** The start of the first window; null when there is none. */
  async first(): Promise<number | null> {
    const rows = await this.#ask(
      `SELECT (extract(epoch FROM min(t.${this.#start})) * 1000)::bigint::text FROM ${this.#table} AS t`,
    );
    return rows[0][0] === null ? null : Number(rows[0][0]);
  }

  /** How many windows start before a time, `most` at most. Steps from window to window by the index. */
  async windowsBefore(beforeMs: number, most: number): Promise<number> {
    const next = (than: string) =>
      `(SELECT t.${this.#start} FROM ${this.#table} AS t WHERE t.${this.#start} < ${than} ORDER BY 1 DESC LIMIT 1)`;
    const rows = await this.#ask(`WITH RECURSIVE windows AS (
  SELECT ${next(instant(beforeMs))} AS start
  UNION ALL SELECT ${next("windows.start")} FROM windows WHERE windows.start IS NOT NULL
) SELECT count(start)::text FROM (SELECT start FROM windows LIMIT ${most}) AS found`);
    return Number(rows[0][0]);
  }

  /** @throws TooManyRowsError when there are more than `rowsMax` */
  async rows(range: WindowRange, { rowsMax }: { readonly rowsMax: number }): Promise<StoredRows> {
    const expressions = this.#columns.map(({ name, type }) => postgresExpression(type, `t.${identifier(name)}`));
    const found = await this.#ask(
      `SELECT ${[...expressions, `${this.#hash}::text`].join(", ")}
FROM ${this.#table} AS t WHERE ${this.#within(range)} LIMIT ${rowsMax + 1}`,
    );
    if (found.length > rowsMax) {
      throw new TooManyRowsError(`${this.name} has more than ${rowsMax} rows in these windows`);
    }
    const values: ResultValue[][] = this.#columns.map(({ type }, c) => found.map((row) => fromPostgres(type, row[c])));
    const digests = found.map((row) => BigInt(row[this.#columns.length] as string));
    return { rows: { columns: this.#columns, length: found.length, values }, digests };
  }

  /**
   * Puts rows right in one statement, each only if it is still as it was seen; and only while the pipeline belongs to the holder
   * of the fence.
   *
   * @throws ConflictError when another process has taken the pipeline over
   */
  async repair({ rewritten, inserted, deleted, must, is }: Repair, fence: Fence): Promise<Repaired> {
    const columns = this.#columns;
    const key = keyColumns(columns);
    const parameters: string[] = [fence.pipeline, String(fence.token)];
    const arrays = (rows: ResultRows, chosen: readonly number[], wanted: readonly ResultColumn[]) =>
      wanted.map((column) => {
        const values = rows.values[columns.indexOf(column)];
        parameters.push(arrayLiteral(column.type, chosen.map((row) => values[row]), 0, chosen.length));
        return `$${parameters.length}::${travel(column.type).arrayType}`;
      });
    const seen = (rows: readonly { readonly digest: bigint }[]) => {
      parameters.push(`{${rows.map(({ digest }) => digest).join(",")}}`);
      return `$${parameters.length}::bigint[]`;
    };
    const unnest = (parts: readonly string[]) =>
      `unnest(${parts.join(", ")}) AS u(${parts.map((_, i) => `c${i}`).join(", ")})`;
    const value = ({ type }: ResultColumn, i: number) => travel(type).expression(`u.c${i}`);
    const isRow = (wanted: readonly ResultColumn[]) =>
      key.map((column) => {
        const [is, must] = [`t.${identifier(column.name)}`, value(column, wanted.indexOf(column))];
        return column.type.nullable ? `${is} IS NOT DISTINCT FROM ${must}` : `${is} = ${must}`;
      }).join(" AND ");
    const gone = unnest([...arrays(is, deleted.map(({ row }) => row), key), seen(deleted)]);
    const changed = unnest([...arrays(must, rewritten.map(({ row }) => row), columns), seen(rewritten)]);
    const added = unnest(arrays(must, inserted, columns));
    const set = columns.map((column, i) => `${identifier(column.name)} = ${value(column, i)}`).join(", ");
    const statement = `WITH held AS MATERIALIZED (SELECT tailrace.hold_ownership($1, $2::bigint) AS ok),
gone AS (DELETE FROM ${this.#table} AS t USING held, ${gone}
  WHERE held.ok AND ${isRow(key)} AND ${this.#hash} = u.c${key.length} RETURNING 1),
changed AS (UPDATE ${this.#table} AS t SET ${set}, ${UPDATED_AT} = now() FROM held, ${changed}
  WHERE held.ok AND ${isRow(columns)} AND ${this.#hash} = u.c${columns.length} RETURNING 1),
added AS (INSERT INTO ${this.#table} (${columns.map(({ name }) => identifier(name)).join(", ")}, ${UPDATED_AT})
  SELECT ${columns.map(value).join(", ")}, now() FROM held, ${added} WHERE held.ok ON CONFLICT DO NOTHING RETURNING 1)
SELECT (SELECT count(*) FROM changed)::text, (SELECT count(*) FROM added)::text, (SELECT count(*) FROM gone)::text`;
    const [[changes, additions, deletions]] = await this.#ask(statement, parameters);
    return { rewritten: Number(changes), inserted: Number(additions), deleted: Number(deletions) };
  }

  #within({ fromMs, toMs }: WindowRange): string {
    return `t.${this.#start} >= ${instant(fromMs)} AND t.${this.#start} < ${instant(toMs)}`;
  }

  async #ask(statement: string, parameters?: string[]): Promise<readonly (readonly unknown[])[]> {
    try {
      // With parameters it is one statement, and short; without, one message is one transaction, and its setting ends with it.
      if (parameters) return await this.#sql.unsafe(statement, parameters).values();
      // One process of the server is enough: nobody waits for an audit.
      const limit = `SELECT set_config('statement_timeout', '${STATEMENT_MS_MAX}', true), ` +
        "set_config('max_parallel_workers_per_gather', '0', true)";
      const results = await this.#sql.unsafe(`${limit};\n${statement}`).values() as unknown as unknown[][][];
      return results[1];
    } catch (error) {
      throw sortedError(error, this.name);
    }
  }
}

/** Hours and the rest, as microseconds times an interval is only exact for some centuries. */
function instant(ms: number): string {
  const hours = Math.floor(ms / 3_600_000);
  return `(TIMESTAMPTZ '1970-01-01 00:00Z' + ${hours} * INTERVAL '1 hour' + ${
    ms - hours * 3_600_000
  } * INTERVAL '1 millisecond')`;
}

import type { DuckDBConnection } from "@duckdb/node-api";
import type { ResultColumn } from "../plan/plan.ts";
import { keyOf } from "../sinks/lake/delta/data_path.ts";
import type { Lake } from "../sinks/lake/lake.ts";
import { readFilesSql } from "../sinks/lake/parquet_files.ts";
import { RESULTS_PARTITION_COLUMN } from "../sinks/lake/results/results_schema.ts";
import type { ResultRows, ResultValue } from "../sinks/sink.ts";
import { identifier } from "../sql_text.ts";
import { indexOf, TooManyRowsError } from "./expected_rows.ts";
import type { WindowRange } from "./expected_sql.ts";
import { duckdbExpression, fromDuckdb } from "./result_values.ts";

/** A table of results in the lake, as an audit reads it. */
export class LakeResults {
  readonly name: string;
  readonly #lake: Lake;
  readonly #columns: readonly ResultColumn[];

  constructor(lake: Lake, { table, columns }: { readonly table: string; readonly columns: readonly ResultColumn[] }) {
    this.name = table;
    this.#lake = lake;
    this.#columns = columns;
  }

  /**
   * The committed rows of the windows in a range, and when the table was committed to last; null while there is none.
   *
   * @throws UnavailableError while the lake cannot be read
   * @throws TooManyRowsError when there are more than `rowsMax`
   */
  async rows(
    connection: DuckDBConnection,
    { fromMs, toMs }: WindowRange,
    { rowsMax, signal }: { readonly rowsMax: number; readonly signal: AbortSignal },
  ): Promise<{ readonly rows: ResultRows; readonly committedMs: number } | null> {
    const table = await this.#lake.table(this.name, { signal });
    if (table === null) return null;
    const snapshot = await table.snapshot({ signal });
    const [first, last] = [fromMs, toMs - 1].map((ms) => new Date(ms).toISOString().slice(0, 10));
    const files = snapshot.files.filter(({ partitionValues }) => {
      const day = partitionValues[RESULTS_PARTITION_COLUMN];
      return day === null || day === undefined || (day >= first && day <= last);
    });
    using local = await this.#lake.store.local(files.map((file) => keyOf(this.name, file)), { signal });
    const found = files.map(({ partitionValues }, i) => ({ path: local.paths[i], partitionValues }));
    const start = identifier(this.#columns[indexOf(this.#columns, "window_start")].name);
    const columns = this.#columns.map(({ name, type }) =>
      // Times of day are microseconds there already.
      type.type.startsWith("time-") ? identifier(name) : duckdbExpression(type, identifier(name))
    );
    // Not as a stream: one that fails in its middle ends there without a word.
    const result = await connection.run(
      `SELECT ${columns.join(", ")} FROM (${readFilesSql(found, snapshot.schema, snapshot.partitionColumns)})
WHERE ${start} >= make_timestamptz(${fromMs} * 1000) AND ${start} < make_timestamptz(${toMs} * 1000) LIMIT ${
        rowsMax + 1
      }`,
    );
    const values: ResultValue[][] = this.#columns.map(() => []);
    for (let chunk = await result.fetchChunk(); chunk && chunk.rowCount > 0; chunk = await result.fetchChunk()) {
      const read = chunk.getColumns();
      this.#columns.forEach(({ type }, c) => values[c].push(...read[c].map((value) => fromDuckdb(type, value))));
      if (values[0].length > rowsMax) throw new TooManyRowsError(`${this.name} has more than ${rowsMax} rows`);
    }
    return {
      rows: { columns: this.#columns, length: values[0].length, values },
      committedMs: snapshot.committedMs,
    };
  }
}

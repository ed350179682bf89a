import { type Clock, systemClock } from "../../../../pipeline/clock.ts";
import type { ResultColumn } from "../../../../pipeline/plan/plan.ts";
import { LakeDatabase } from "../../../../pipeline/sinks/lake/database.ts";
import { keyOf } from "../../../../pipeline/sinks/lake/delta/data_path.ts";
import { createDiskStore } from "../../../../pipeline/sinks/lake/disk_store.ts";
import type { Lake } from "../../../../pipeline/sinks/lake/lake.ts";
import type { ObjectStore } from "../../../../pipeline/sinks/lake/object_store.ts";
import { openLake } from "../../../../pipeline/sinks/lake/open_lake.ts";
import { readFilesSql } from "../../../../pipeline/sinks/lake/parquet_files.ts";
import {
  createLakeSink,
  type LakeSink,
  type LakeSinkOptions,
} from "../../../../pipeline/sinks/lake/results/lake_sink.ts";
import type { ResultValue } from "../../../../pipeline/sinks/sink.ts";
import { identifier } from "../../../../pipeline/sql_text.ts";
import type { Subject } from "../../../contracts/sink_contract.ts";

export const TABLE = "results";
export const PIPELINE = "contract";

const TEXTS: ReadonlySet<string> = new Set(["string", "enum", "uuid"]);
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** A lake in a folder of its own, and sinks over it as processes have them. */
export interface TestLake extends AsyncDisposable {
  readonly folder: string;
  readonly lake: Lake;
  /** The same as another process sees it; its store is not the one that was wrapped. */
  readonly reader: Lake;
  /** A sink that was not resumed yet; closed with the lake. */
  sink(columns: readonly ResultColumn[], options?: Partial<LakeSinkOptions>): LakeSink;
  /** The rows of the table as DuckDB reads them, in the order of the columns; no sink has a part in it. */
  read(columns: readonly ResultColumn[]): Promise<ResultValue[][]>;
}

export async function testLake(
  { store: wrap = (store) => store, clock = systemClock }: {
    readonly store?: (store: ObjectStore) => ObjectStore;
    readonly clock?: Clock;
  } = {},
): Promise<TestLake> {
  const parts = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir({ prefix: "tailrace_results_" });
  parts.defer(() => Deno.remove(folder, { recursive: true }));
  const database = new LakeDatabase({ scratch: `${folder}/scratch`, memoryBytesMax: 1024 ** 3, threads: 2 });
  const plain = createDiskStore({ folder: `${folder}/lake` });
  const lake = parts.use(openLake({ store: wrap(plain), database }));
  const reader = openLake({ store: plain, database });
  return {
    folder,
    lake,
    reader,
    sink: (columns, options) =>
      parts.use(createLakeSink({
        lake,
        table: TABLE,
        columns,
        pipeline: PIPELINE,
        flush: { everyMs: 3_600_000, rows: 1_000_000 },
        folder: `${folder}/journal`,
        clock,
        ...options,
      })),
    read: (columns) => readResults(reader, columns),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** All rows of the newest snapshot. */
export async function readResults(lake: Lake, columns: readonly ResultColumn[]): Promise<ResultValue[][]> {
  const table = await lake.table(TABLE);
  if (table === null) return [];
  const { files, schema, partitionColumns } = await table.snapshot();
  using local = await lake.store.local(files.map((file) => keyOf(TABLE, file)));
  const sources = files.map(({ partitionValues }, i) => ({ path: local.paths[i], partitionValues }));
  const values = columns.map(({ name, type: { type } }) => {
    const value = identifier(name);
    if (type === "timestamp-millis") return `epoch_ms(${value})`;
    if (type === "timestamp-micros") return `epoch_us(${value})`;
    if (type === "date") return `(${value} - DATE '1970-01-01')::BIGINT`;
    if (type === "time-millis") return `${value} // 1000`;
    // DuckDB's client would take a byte order mark at the beginning for one.
    if (TEXTS.has(type)) return `encode(${value})`;
    return type === "decimal" ? `${value}::VARCHAR` : value;
  });
  return await lake.database.use(async (connection) => {
    const query = `SELECT ${values.join(", ")} FROM (${readFilesSql(sources, schema, partitionColumns)})`;
    const rows = await (await connection.run(query)).getRowsJS();
    return rows.map((row) =>
      row.map((value, index): ResultValue => {
        if (TEXTS.has(columns[index].type.type) && value !== null) return decoder.decode(value as Uint8Array);
        return typeof value === "bigint" && Number.isSafeInteger(Number(value)) ? Number(value) : value as ResultValue;
      })
    );
  });
}

/** A lake for the contract of sinks: what a reader finds is in the table after a flush. */
export async function lakeSubject(columns: readonly ResultColumn[]): Promise<Subject> {
  const lake = await testLake();
  const sinks: LakeSink[] = [];
  const open = () => {
    const sink = lake.sink(columns);
    sinks.push(sink);
    return sink;
  };
  return {
    sink: open(),
    reopen: () => Promise.resolve(open()),
    read: async () => {
      // Former processes too: they may be frozen only, and come back.
      for (const sink of sinks.toReversed()) await sink.flush();
      return await lake.read(columns);
    },
    [Symbol.asyncDispose]: () => lake[Symbol.asyncDispose](),
  };
}

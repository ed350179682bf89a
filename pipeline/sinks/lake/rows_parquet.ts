/**
 * Records of a delivery as a Parquet file (zstd), each time with the same columns:
 *
 * | type | in Parquet |
 * |---|---|
 * | boolean, int, long, float, double | BOOLEAN, INT32, INT64, FLOAT, DOUBLE |
 * | decimal | DECIMAL(precision, scale) |
 * | string, enum, uuid; arrays, maps and records as JSON | BYTE_ARRAY, STRING |
 * | bytes | BYTE_ARRAY |
 * | date, times | DATE, TIME in microseconds |
 * | timestamps | TIMESTAMP in microseconds, adjusted to UTC |
 *
 * Where the delivery has a key the last column is `_deleted`, a BOOLEAN: the key of such a row is gone.
 *
 * @module
 */
import { join } from "node:path";
import type { FieldType } from "../../columns.ts";
import type { ResultColumn } from "../../plan/plan.ts";
import { identifier, literal } from "../../sql_text.ts";
import { DELETED_FIELD } from "../files/ndjson.ts";
import type { ResultRows, ResultValue } from "../sink.ts";
import { LakeDatabase } from "./database.ts";
import { duckdbFailure } from "./duckdb_failure.ts";
import { StagedRows } from "./results/stage_rows.ts";

/** A batch of a delivery has 8 MiB of records, or one that is larger. */
const MEMORY_BYTES_MAX = 512 * 1024 * 1024;
const STAGED = "delivered";
const DELETED: ResultColumn = { name: DELETED_FIELD, type: { type: "boolean", nullable: false }, role: "value" };

/** Writes one file after the other, with a DuckDB of its own. */
export class RowsParquet implements AsyncDisposable {
  readonly #scratch: string;
  readonly #database: LakeDatabase;

  /** @param scratch a local folder for what is being written; made when it is first needed */
  constructor(scratch: string) {
    this.#scratch = scratch;
    this.#database = new LakeDatabase({ scratch, memoryBytesMax: MEMORY_BYTES_MAX, threads: 1 });
  }

  /**
   * The bytes of a file with the rows from `first` on. Values must be such as `parquetRefusal` takes.
   *
   * @throws UnavailableError when the disk is full or memory is short
   */
  async encode(
    rows: ResultRows,
    { first, hasDeleted }: { readonly first: number; readonly hasDeleted: boolean },
  ): Promise<Uint8Array> {
    const columns = hasDeleted ? [...rows.columns, DELETED] : rows.columns;
    const staged = stagedOf(rows, { first, columns });
    const path = join(this.#scratch, `${crypto.randomUUID()}.parquet`);
    try {
      await Deno.mkdir(this.#scratch, { recursive: true });
      await this.#database.use(async (connection) => {
        using table = await StagedRows.create(connection, STAGED, columns);
        await table.append(staged, { signal: new AbortController().signal });
        table.finish();
        const select = columns.map((column) => `${selected(column)} AS ${identifier(column.name)}`).join(", ");
        await connection.run(
          `COPY (SELECT ${select} FROM temp.${identifier(STAGED)} ORDER BY kafka_offset) TO ${literal(path)} ` +
            "(FORMAT parquet, COMPRESSION zstd)",
        );
      }).catch((error) => {
        throw duckdbFailure(error, `write ${path}`);
      });
      return await Deno.readFile(path);
    } finally {
      await Deno.remove(path).catch(() => {});
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#database[Symbol.asyncDispose]();
  }
}

function stagedOf(
  { length, values, origin }: ResultRows,
  { first, columns }: { readonly first: number; readonly columns: readonly ResultColumn[] },
): ResultRows {
  const kept = first === 0 ? values : values.map((list) => list.slice(first));
  const gone = Array.from({ length: length - first }, (_, row) => origin?.tombstones?.has(first + row) ?? false);
  return { columns, length: length - first, values: columns.length > kept.length ? [...kept, gone] : kept };
}

/** Texts of decimals, and times as microseconds, are what `StagedRows` makes of them. */
function selected({ name, type }: ResultColumn): string {
  const column = identifier(name);
  switch (type.type) {
    case "int":
      return `CAST(${column} AS INTEGER)`;
    case "float":
      return `CAST(${column} AS FLOAT)`;
    case "decimal":
      return `CAST(${column} AS DECIMAL(${type.precision}, ${type.scale}))`;
    case "time-millis":
    case "time-micros":
      return `CAST(make_timestamp(${column}) AS TIME)`;
    default:
      return column;
  }
}

const DAY_MILLIS = 86_400_000;
/** What microseconds in 64 bits, and DuckDB's calendar, have: about the years -290,000 to 294,000. */
const MICROS = { least: -9_223_372_022_400_000_000n, most: 9_223_372_036_854_775_806n };
const DAYS_MOST = 2_147_483_646;

/** Why a file cannot have a value of this type, in words; null when it can. */
export function parquetRefusal(about: FieldType, value: ResultValue): string | null {
  if (value === null) return null;
  const { type } = about;
  switch (type) {
    case "decimal": {
      const digits = (value as string).replace(/^[-0.]+|\./g, "").length;
      return digits <= about.precision ? null : `has ${digits} digits, more than the ${about.precision} of its type`;
    }
    case "date":
      return Math.abs(value as number) <= DAYS_MOST ? null : "is a date beyond what Parquet's readers know";
    case "time-millis":
    case "time-micros": {
      const most = type === "time-millis" ? DAY_MILLIS : 1_000 * DAY_MILLIS;
      return (value as number) >= 0 && (value as number) < most ? null : `is ${value}, no time of a day`;
    }
    case "timestamp-millis":
    case "timestamp-micros": {
      const micros = BigInt(value as number | bigint) * (type === "timestamp-millis" ? 1_000n : 1n);
      const isKnown = micros >= MICROS.least && micros <= MICROS.most;
      return isKnown ? null : `is ${value}, a time beyond what Parquet has`;
    }
    default:
      return null;
  }
}

/**
 * Rows that wait in memory until they are written as files.
 *
 * @module
 */
import { identifier, literal } from "../../../sql_text.ts";
import { type HeldField, HeldRows } from "../columns/held_rows.ts";
import type { HeldScan } from "../columns/scan_held.ts";
import type { LakeDatabase } from "../database.ts";
import type { CodedColumn } from "../parquet_files.ts";
import { ARCHIVE_PARTITION_COLUMN } from "./archive.ts";
import type { ArchiveColumn, ArchiveColumns } from "./archive_columns.ts";

/** What is staged of every record, ahead of its fields: the place of each among the columns. */
export const STAGED = {
  partition: 0,
  offset: 1,
  timestamp: 2,
  key: 3,
  headers: 4,
  schemaId: 5,
  fault: 6,
  value: 7,
  ingestDate: 8,
  firstField: 9,
} as const;

const FIXED: readonly HeldField[] = [
  { name: "partition", type: "integer" },
  { name: "offset", type: "long" },
  { name: "timestamp", type: "timestamp" },
  { name: "key", type: "binary" },
  { name: "headers", type: "string", isCoded: false },
  { name: "schema_id", type: "integer" },
  { name: "fault", type: "string", isCoded: false },
  { name: "value", type: "binary" },
  { name: "ingest_date", type: "date" },
];

const NO_HEADERS = "NULL::STRUCT(key VARCHAR, value BLOB)[]";
/** Headers are staged as a list of [name, value in base64]. */
const HEADERS = `CASE WHEN headers IS NOT NULL THEN list_transform(` +
  `from_json(headers, '[["VARCHAR"]]'), h -> {'key': h[1], 'value': from_base64(h[2])}) END`;

/** Rows whose columns stay as they were when it was made. */
export class Stage {
  /** `ArchiveColumns.generation` that it was made for. */
  readonly generation: number;
  readonly held: HeldRows;
  readonly #columns: readonly ArchiveColumn[];
  hasHeaders = false;

  constructor(archive: ArchiveColumns) {
    this.generation = archive.generation;
    this.held = new HeldRows([...FIXED, ...archive.columns.map(({ type }, i) => ({ name: `f${i}`, type }))]);
    this.#columns = archive.columns.map((column) => ({ ...column }));
  }

  get rows(): number {
    return this.held.rows;
  }

  /** Lets a database ask for the rows there are now. */
  scan(database: LakeDatabase): StageScan {
    return new StageScan(database.scan(this.held), {
      columns: this.#columns,
      hasHeaders: this.hasHeaders,
    });
  }
}

/** Rows of a stage as a relation, until it is disposed of. */
export class StageScan implements Disposable {
  readonly #scan: HeldScan;
  readonly #columns: readonly ArchiveColumn[];
  readonly #hasHeaders: boolean;

  constructor(
    scan: HeldScan,
    { columns, hasHeaders }: { readonly columns: readonly ArchiveColumn[]; readonly hasHeaders: boolean },
  ) {
    this.#scan = scan;
    this.#columns = columns;
    this.#hasHeaders = hasHeaders;
  }

  [Symbol.dispose](): void {
    this.#scan[Symbol.dispose]();
  }

  /** Columns that are ENUMs in it, but for those inside of records, which are texts. */
  get coded(): readonly CodedColumn[] {
    const bounds = new Map(this.#scan.coded.map((column) => [column.name, column]));
    return this.#columns.flatMap(({ path }, i) => {
      const found = path.length === 1 ? bounds.get(`f${i}`) : undefined;
      return found === undefined ? [] : [{ ...found, name: path[0] }];
    });
  }

  /** The rows as the archive's columns, which may have grown since; `kafka_topic` is an ENUM (`topicType`). */
  sql(topic: string, columns: readonly ArchiveColumn[]): string {
    const leaf = (column: ArchiveColumn) => {
      const index = this.#columns.findIndex(({ path }) => path.join("\0") === column.path.join("\0"));
      if (index < 0) return "NULL";
      return column.path.length > 1 && this.#columns[index].type === "string" ? `f${index}::VARCHAR` : `f${index}`;
    };
    return `SELECT ${literal(topic)}::${
      topicType(topic)
    } AS kafka_topic, "partition" AS kafka_partition, "offset" AS kafka_offset,
  "timestamp" AS kafka_timestamp, "key" AS kafka_key, ${this.#hasHeaders ? HEADERS : NO_HEADERS} AS kafka_headers,
  schema_id AS kafka_schema_id, fault AS kafka_fault, "value" AS kafka_value,
  ${fieldsSql(columns, leaf).join(",\n  ")}${columns.length > 0 ? "," : ""}
  ${ARCHIVE_PARTITION_COLUMN}
FROM ${this.#scan.sql}`;
  }
}

/** The type of a topic's name, the same in all rows: as text DuckDB's writer would look it up for each of them. */
export function topicType(topic: string): string {
  return `ENUM(${literal(topic)})`;
}

/** Leaves put back into the records that they came from. A record all of whose fields are null is null. */
function fieldsSql(columns: readonly ArchiveColumn[], leaf: (column: ArchiveColumn) => string): string[] {
  const pack = (inside: readonly ArchiveColumn[], depth: number): string => {
    const byName = Map.groupBy(inside, ({ path }) => path[depth]);
    const parts = Array.from(byName, ([name, at]) => {
      const isLeaf = at[0].path.length === depth + 1;
      return `${literal(name)}: ${isLeaf ? leaf(at[0]) : pack(at, depth + 1)}`;
    });
    const present = inside.map(leaf).filter((name) => name !== "NULL");
    if (present.length === 0) return "NULL";
    return `CASE WHEN ${present.map((name) => `${name} IS NOT NULL`).join(" OR ")} THEN {${parts.join(", ")}} END`;
  };
  const byName = Map.groupBy(columns, ({ path }) => path[0]);
  return Array.from(byName, ([name, at]) => {
    const isLeaf = at[0].path.length === 1;
    return `${isLeaf ? leaf(at[0]) : pack(at, 1)} AS ${identifier(name)}`;
  });
}

/**
 * An archive's table in DuckDB, filled with records as tests write them: what the SQL of an audit reads, without a lake.
 *
 * @module
 */
import type { DuckDBConnection } from "@duckdb/node-api";
import type { JudgedTables } from "../../pipeline/audit/expected_sql.ts";
import { fieldTypes } from "../../pipeline/codec/schema.ts";
import type { FieldType } from "../../pipeline/columns.ts";
import type { Plan } from "../../pipeline/plan/plan.ts";
import { deltaField, deltaSchema, deltaTypeOf, duckdbType } from "../../pipeline/sinks/lake/delta/schema.ts";
import type { DeltaField, DeltaSchema } from "../../pipeline/sinks/lake/delta/table.ts";
import type { TestRecord } from "../../pipeline/testing/mod.ts";
import { identifier, literal } from "../../pipeline/sql_text.ts";

/** A record where it lies in its topic. */
export interface ArchivedRecord {
  readonly partition: number;
  readonly offset: number;
  /** Null for one that could not be decoded. */
  readonly record: TestRecord | null;
  readonly headers?: Readonly<Record<string, string>>;
  /** What the archive could not keep of it. */
  readonly fault?: string;
}

const KAFKA: readonly DeltaField[] = [
  deltaField("kafka_topic", "string"),
  deltaField("kafka_partition", "integer"),
  deltaField("kafka_offset", "long"),
  deltaField("kafka_timestamp", "timestamp"),
  deltaField("kafka_key", "binary"),
  deltaField("kafka_headers", {
    type: "array",
    containsNull: false,
    elementType: { type: "struct", fields: [deltaField("key", "string"), deltaField("value", "binary")] },
  }),
  deltaField("kafka_schema_id", "integer"),
  deltaField("kafka_fault", "string"),
  deltaField("kafka_value", "binary"),
];

/** The schema of the archive of a topic whose records are written with the plan's own schema. */
export function archiveSchema(plan: Plan): DeltaSchema {
  const types = [...fieldTypes(plan.schema)].map(([path, type]) => ({ path: path.split("."), type }));
  return deltaSchema([...KAFKA, ...nested(types), deltaField("ingest_date", "date")]);
}

type Leaf = { readonly path: readonly string[]; readonly type: FieldType };

function nested(leaves: readonly Leaf[]): DeltaField[] {
  return Array.from(Map.groupBy(leaves, ({ path }) => path[0]), ([name, [first, ...others]]) => {
    if (first.path.length === 1) return deltaField(name, deltaTypeOf(first.type));
    const inside = [first, ...others].map(({ path, type }) => ({ path: path.slice(1), type }));
    return deltaField(name, { type: "struct", fields: nested(inside) });
  });
}

/** A query that gives the records as rows of the archive. */
export function archiveRows(plan: Plan, records: readonly ArchivedRecord[]): string {
  const schema = archiveSchema(plan);
  const types = fieldTypes(plan.schema);
  const rows = records.map(({ partition, offset, record, headers, fault }) => {
    const value = (field: DeltaField, of: unknown, path: string): string => {
      if (typeof field.type !== "string" && field.type.type === "struct") {
        if (of === null || of === undefined) return "NULL";
        const inside = field.type.fields.map((one) =>
          `${identifier(one.name)} := ${value(one, (of as TestRecord)[one.name], `${path}.${one.name}`)}`
        );
        return `struct_pack(${inside.join(", ")})`;
      }
      return leaf(types.get(path)!, of);
    };
    const own = schema.fields.slice(KAFKA.length, -1).map((field) => value(field, record?.[field.name], field.name));
    const told = headers
      ? `[${
        Object.entries(headers).map(([key, text]) => `{'key': ${literal(key)}, 'value': encode(${literal(text)})}`)
          .join(", ")
      }]`
      : "NULL";
    const kafka = [
      literal(plan.topic),
      partition,
      offset,
      "TIMESTAMPTZ '2026-01-01 00:00:00+00'",
      "NULL",
      told,
      1,
      record === null ? "'damaged'" : fault === undefined ? "NULL" : literal(fault),
      "NULL",
    ];
    return `(${[...kafka, ...own, "DATE '2026-01-01'"].join(", ")})`;
  });
  const typed = schema.fields.map(({ name, type }, i) => `CAST(c${i} AS ${duckdbType(type)}) AS ${identifier(name)}`);
  return `SELECT ${typed.join(", ")} FROM (VALUES ${rows.join(",\n")}) AS rows(${
    schema.fields.map((_, i) => `c${i}`).join(", ")
  })`;
}

function leaf(type: FieldType, value: unknown): string {
  if (value === null || value === undefined) return "NULL";
  switch (type.type) {
    case "timestamp-millis":
    case "timestamp-micros":
      return `TIMESTAMPTZ ${literal(String(value).replace("T", " ").replace("Z", "+00"))}`;
    case "time-millis":
    case "time-micros":
      return `epoch_us(TIME ${literal(String(value))})`;
    // SQL's text cannot hold U+0000.
    case "string":
      return `decode(unhex('${new TextEncoder().encode(String(value)).toHex()}'))`;
    case "bytes":
      return `unhex('${(value as Uint8Array).toHex()}')`;
    case "double":
    case "float":
      return `CAST('${value}' AS DOUBLE)`;
    default:
      return `CAST(${literal(String(value))} AS ${duckdbType(deltaTypeOf(type))})`;
  }
}

/** The tables that say how records were judged. */
export async function judgedTables(
  connection: DuckDBConnection,
  judged: {
    readonly read: readonly (readonly [part: number, from: number, until: number])[];
    readonly aside?: readonly (readonly [part: number, place: number])[];
    readonly counted?: readonly (readonly [part: number, place: number])[];
  },
): Promise<JudgedTables> {
  await connection.run("CREATE OR REPLACE TEMP TABLE aside (part INTEGER, place BIGINT)");
  await connection.run("CREATE OR REPLACE TEMP TABLE counted (part INTEGER, place BIGINT)");
  const insert = async (table: string, rows: readonly (readonly number[])[]) => {
    if (rows.length > 0) {
      await connection.run(`INSERT INTO ${table} VALUES ${rows.map((row) => `(${row})`).join(", ")}`);
    }
  };
  await insert("aside", judged.aside ?? []);
  await insert("counted", judged.counted ?? []);
  const read = judged.read.map(([partition, from, until]) => ({ partition, from, until }));
  return { read, aside: "aside", counted: "counted" };
}

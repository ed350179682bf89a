import type { ArchivedTopic } from "../../pipeline/backfill/archived_topic.ts";
import { LakeDatabase } from "../../pipeline/sinks/lake/database.ts";
import type { DeltaField, DeltaSchema, DeltaType } from "../../pipeline/sinks/lake/delta/table.ts";
import { identifier, literal } from "../../pipeline/sql_text.ts";

/** An archived record, its fields as SQL. Without fields it is a tombstone, or with a fault could not be read. */
export interface ArchivedRecord {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs?: number;
  readonly fields?: readonly string[];
  readonly fault?: string;
  /** As text. */
  readonly headers?: readonly (readonly [name: string, value: string])[];
}

const field = (name: string, type: DeltaType): DeltaField => ({ name, type, nullable: true, metadata: {} });

const KAFKA: readonly (readonly [name: string, type: string])[] = [
  ["kafka_topic", "VARCHAR"],
  ["kafka_partition", "INTEGER"],
  ["kafka_offset", "BIGINT"],
  ["kafka_timestamp", "TIMESTAMP WITH TIME ZONE"],
  ["kafka_key", "BLOB"],
  ["kafka_headers", "STRUCT(key VARCHAR, value BLOB)[]"],
  ["kafka_schema_id", "INTEGER"],
  ["kafka_fault", "VARCHAR"],
  ["kafka_value", "BLOB"],
];

export function newDatabase(): LakeDatabase {
  return new LakeDatabase({ scratch: Deno.makeTempDirSync(), memoryBytesMax: 1e9, threads: 2 });
}

export interface TableArchiveOptions {
  readonly database: LakeDatabase;
  readonly topic: string;
  /** The topic's own columns: name, type of the lake, type in DuckDB. */
  readonly columns: readonly (readonly [name: string, delta: DeltaType, duckdb: string])[];
  readonly positions: ReadonlyMap<number, number>;
}

/** An archive as a table of DuckDB, in two parts. */
export async function tableArchive(
  records: readonly ArchivedRecord[],
  { database, topic, columns, positions }: TableArchiveOptions,
): Promise<ArchivedTopic> {
  const table = `archive_${crypto.randomUUID().replaceAll("-", "")}`;
  const schema: DeltaSchema = {
    type: "struct",
    fields: [...KAFKA.map(([name]) => field(name, "string")), ...columns.map(([name, type]) => field(name, type))],
  };
  await database.use(async (connection) => {
    const all = [...KAFKA, ...columns.map(([name, , type]) => [name, type] as const)];
    await connection.run(`CREATE TABLE ${table} (${all.map(([name, type]) => `${identifier(name)} ${type}`)})`);
    const rows = records.map(({ partition, offset, timestampMs, fields, fault, headers }) => {
      const list = headers?.map(([name, value]) =>
        `{'key': ${literal(name)}, 'value': CAST(${literal(value)} AS BLOB)}`
      );
      return `(${
        [
          literal(topic),
          partition,
          offset,
          timestampMs === undefined ? "NULL" : `make_timestamptz(${timestampMs * 1000})`,
          "NULL",
          list ? `[${list}]` : "NULL",
          fields === undefined ? "NULL" : 1,
          fault === undefined ? "NULL" : literal(fault),
          "NULL",
          ...fields ?? columns.map(() => "NULL"),
        ].join(", ")
      })`;
    });
    if (rows.length > 0) await connection.run(`INSERT INTO ${table} VALUES ${rows}`);
  });
  return {
    topic,
    table: "t",
    version: 7,
    schema,
    positions,
    bounds: () => null,
    async eachPart(work) {
      for (const rest of [0, 1]) await work(`(SELECT * FROM ${table} WHERE kafka_offset % 2 = ${rest})`);
    },
    within: (_, work) => work(table),
  };
}

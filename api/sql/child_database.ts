/**
 * The DuckDB that a question is put to: in memory, with one view for each relation that the question names, over exactly the files
 * that were captured for it. When it is opened nothing else can be read, nothing can be written, and no setting can be changed.
 *
 * @module
 */
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import { identifier, literal } from "../../pipeline/sql_text.ts";
import type { CapturedFile } from "./catalog.ts";
import type { RunOrder, View } from "./child_protocol.ts";

/** Where DuckDB writes Parquet: our own standard output, which is a pipe. */
export const PARQUET_OUTPUT = "/dev/stdout";

/** Nothing is fetched, found by itself, remembered, or put on disk. */
const CLOSED = {
  autoinstall_known_extensions: "false",
  autoload_known_extensions: "false",
  allow_community_extensions: "false",
  allow_unsigned_extensions: "false",
  allow_persistent_secrets: "false",
  temp_directory: "",
  max_temp_directory_size: "0KiB",
  errors_as_json: "true",
};

/** A database that parses and has nothing. */
export async function openParser(): Promise<DuckDBConnection> {
  const instance = await DuckDBInstance.create(":memory:", {
    ...CLOSED,
    threads: "1",
    enable_external_access: "false",
    lock_configuration: "true",
  });
  return await instance.connect();
}

/** The syntax tree of a text, as `json_serialize_sql` gives it; nothing of the text is executed. */
export async function treeOf(parser: DuckDBConnection, sql: string): Promise<string> {
  const reader = await parser.runAndReadAll(
    "SELECT json_serialize_sql($1::VARCHAR, skip_null := true, skip_empty := true, skip_default := true)",
    [sql],
  );
  return String(reader.getRows()[0][0]);
}

/** A database with the order's views, locked. */
export async function openViews(
  { views, format, memoryBytesMax, threads }: Pick<RunOrder, "views" | "format" | "memoryBytesMax" | "threads">,
): Promise<DuckDBConnection> {
  const instance = await DuckDBInstance.create(":memory:", {
    ...CLOSED,
    threads: String(threads),
    memory_limit: `${Math.ceil(memoryBytesMax / 1024)}KiB`,
  });
  const connection = await instance.connect();
  const paths = views.flatMap(({ files }) => files.map(({ path }) => path));
  if (format === "parquet") paths.push(PARQUET_OUTPUT);
  await connection.run("SET TimeZone = 'UTC'");
  await connection.run(`SET allowed_paths = [${paths.map(literal).join(", ")}]`);
  await connection.run("SET enable_external_access = false");
  for (const schema of new Set(views.map(({ schema }) => schema))) {
    if (schema !== null) await connection.run(`CREATE SCHEMA ${identifier(schema)}`);
  }
  for (const view of views) await connection.run(viewSql(view));
  await connection.run("SET lock_configuration = true");
  return connection;
}

/**
 * A view with all of the columns, in their order and of their types, whatever the files have of them: files of earlier schemas lack
 * some, and have others narrower. Files of one partition are read together, with its values as constants, so that a condition on
 * them leaves out whole partitions.
 */
export function viewSql({ schema, name, columns, files }: View): string {
  const empty = columns.map((column) => `NULL::${column.type} AS ${identifier(column.name)}`).join(", ");
  const parts = [`SELECT ${empty} WHERE false`];
  for (const [values, paths] of byPartition(files)) {
    const constants = values.map(([column, value]) => {
      const { type = "VARCHAR" } = columns.find((one) => one.name === column) ?? {};
      return `, ${value === null ? "NULL" : literal(value)}::${type} AS ${identifier(column)}`;
    });
    const read = `read_parquet([${paths.map(literal).join(", ")}], union_by_name = true, hive_partitioning = false)`;
    parts.push(`SELECT *${constants.join("")} FROM ${read}`);
  }
  const told = columns.map((column) => `${identifier(column.name)}::${column.type} AS ${identifier(column.name)}`).join(
    ", ",
  );
  const view = schema === null ? identifier(name) : `${identifier(schema)}.${identifier(name)}`;
  return `CREATE VIEW ${view} AS SELECT ${told} FROM (${parts.join(" UNION ALL BY NAME ")})`;
}

function byPartition(files: readonly CapturedFile[]): [values: [string, string | null][], paths: string[]][] {
  const groups = new Map<string, [[string, string | null][], string[]]>();
  for (const { path, partitions } of files) {
    const values = Object.entries(partitions).sort(([a], [b]) => a < b ? -1 : 1);
    const key = JSON.stringify(values);
    const group = groups.get(key) ?? [values, []];
    group[1].push(path);
    groups.set(key, group);
  }
  return [...groups.values()];
}

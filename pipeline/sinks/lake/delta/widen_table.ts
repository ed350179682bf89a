/**
 * Makes a table's schema hold what is to be written next.
 *
 * @module
 */
import type { DuckDBConnection } from "@duckdb/node-api";
import { ConfigError } from "../../../errors.ts";
import type { ObjectStore, StoreOptions } from "../object_store.ts";
import { readFilesSql, writeFiles } from "../parquet_files.ts";
import { keyOf } from "./data_path.ts";
import { evolve } from "./evolve.ts";
import type { DataFile, DeltaSchema, DeltaTable, Snapshot } from "./table.ts";

/** Files written anew are cut at about so many bytes. */
export const WIDENED_FILE_BYTES = 256 * 1024 ** 2;

export interface FitTableOptions extends StoreOptions {
  readonly store: ObjectStore;
  readonly connection: DuckDBConnection;
}

/**
 * The newest snapshot, with a schema that has all columns of `schema`, at least as wide: write with that schema, not with your
 * own. Commits a new schema where the table's lacks something. Columns that became wider are written anew, in the same commit:
 * protocol version 1/2 has one type for a column of all files.
 *
 * @throws ConfigError when a column can be no type that holds both
 * @throws ConflictError when others commit meanwhile what does not go with it: ask again
 */
export async function fitTable(table: DeltaTable, schema: DeltaSchema, options: FitTableOptions): Promise<Snapshot> {
  const base = await table.snapshot({ signal: options.signal });
  const evolution = evolve(base.schema, schema);
  switch (evolution.kind) {
    case "same":
      return base;
    case "impossible":
      throw new ConfigError({
        where: `lake.${table.name}`,
        problem: `${evolution.problem}: write into a table of another name`,
      });
    case "added": {
      const change = { operation: "ADD COLUMNS", parameters: { columns: added(base, evolution.schema) } };
      return (await table.commit({ ...change, schema: evolution.schema }, { base, signal: options.signal })).snapshot;
    }
    case "widened":
      return await widenTable(table, evolution.schema, { ...options, base });
  }
}

/** Writes every file of a table anew with wider columns, and commits them with the new schema. */
export async function widenTable(
  table: DeltaTable,
  schema: DeltaSchema,
  options: FitTableOptions & { readonly base: Snapshot },
): Promise<Snapshot> {
  const { store, connection, base, signal } = options;
  const partitions = Map.groupBy(base.files, ({ partitionValues }) => JSON.stringify(partitionValues));
  const add: DataFile[] = [];
  for (const files of partitions.values()) {
    using local = await store.local(files.map((file) => keyOf(table.name, file)), { signal });
    const sources = files.map(({ partitionValues }, i) => ({ path: local.paths[i], partitionValues }));
    add.push(
      ...await writeFiles(connection, readFilesSql(sources, schema, base.partitionColumns), {
        store,
        table: table.name,
        schema,
        partitionColumns: base.partitionColumns,
        partitionValues: files[0].partitionValues,
        fileBytes: WIDENED_FILE_BYTES,
        signal,
      }),
    );
  }
  const { snapshot } = await table.commit({
    operation: "CHANGE COLUMN",
    parameters: { columns: added(base, schema) },
    add,
    remove: base.files,
    dataChange: false,
    schema,
  }, { base, signal });
  return snapshot;
}

/** Which columns are new or of another type. */
function added(base: Snapshot, schema: DeltaSchema): string {
  const before = new Map(base.schema.fields.map(({ name, type }) => [name, JSON.stringify(type)]));
  return schema.fields.filter(({ name, type }) => before.get(name) !== JSON.stringify(type)).map(({ name }) => name)
    .join(", ");
}

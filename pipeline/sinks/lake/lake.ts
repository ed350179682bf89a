/**
 * A lake: Delta tables side by side in one store, and the DuckDB that writes their files.
 *
 * @module
 */
import type { LakeDatabase } from "./database.ts";
import type { DeltaSchema, DeltaTable } from "./delta/table.ts";
import type { ObjectStore, StoreOptions } from "./object_store.ts";

export interface Lake extends AsyncDisposable {
  readonly store: ObjectStore;
  readonly database: LakeDatabase;
  /** Null when there is no such table. */
  table(name: string, options?: StoreOptions): Promise<DeltaTable | null>;
  /** Opens a table, or makes it empty with this schema. One that is there keeps its own schema: compare and evolve it. */
  ensureTable(
    name: string,
    options: StoreOptions & { readonly schema: DeltaSchema; readonly partitionColumns: readonly string[] },
  ): Promise<DeltaTable>;
  /** Names of all tables, in order. */
  tables(options?: StoreOptions): Promise<string[]>;
}

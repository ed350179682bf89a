/** A lake over a store: its tables, each opened once. @module */
import { ConfigError } from "../../errors.ts";
import { lakeTableFault } from "../../plan/names.ts";
import type { LakeDatabase } from "./database.ts";
import { logFolder } from "./delta/actions.ts";
import { ensureDeltaTable, openDeltaTable } from "./delta/delta_table.ts";
import type { DeltaTable } from "./delta/table.ts";
import type { Lake } from "./lake.ts";
import type { ObjectStore, StoreOptions } from "./object_store.ts";

export interface OpenLakeOptions {
  /** Store and database become the lake's, which disposes of them. */
  readonly store: ObjectStore;
  readonly database: LakeDatabase;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

export function openLake(options: OpenLakeOptions): Lake {
  return new StoredLake(options);
}

class StoredLake implements Lake {
  readonly store: ObjectStore;
  readonly database: LakeDatabase;
  readonly #now: (() => number) | undefined;
  /** By name; as many as there are tables. */
  readonly #tables = new Map<string, DeltaTable>();

  constructor(options: OpenLakeOptions) {
    this.store = options.store;
    this.database = options.database;
    this.#now = options.now;
  }

  async table(name: string, options: StoreOptions = {}): Promise<DeltaTable | null> {
    const known = this.#tables.get(name);
    if (known !== undefined) return known;
    if (lakeTableFault(name) !== null) return null;
    const table = await openDeltaTable(this.#parts(name), options);
    return table === null ? null : this.#keep(table);
  }

  async ensureTable(name: string, options: Parameters<Lake["ensureTable"]>[1]): Promise<DeltaTable> {
    const known = this.#tables.get(name);
    if (known !== undefined) return known;
    const fault = lakeTableFault(name);
    if (fault !== null) throw new ConfigError({ where: this.store.url, problem: fault });
    return this.#keep(await ensureDeltaTable(this.#parts(name), options));
  }

  async tables(options: StoreOptions = {}): Promise<string[]> {
    const names: string[] = [];
    let after = "";
    for (;;) {
      const folder = await firstFolder(this.store, { ...options, after });
      if (folder === null) return names;
      if (lakeTableFault(folder) === null && await hasAny(this.store, logFolder(folder), options)) names.push(folder);
      // The next folder begins after all keys of this one: "0" is the character after "/".
      after = `${folder}0`;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.database[Symbol.asyncDispose]();
    await this.store[Symbol.asyncDispose]();
  }

  #parts(table: string) {
    return { store: this.store, database: this.database, table, now: this.#now };
  }

  /** Two who open a table at once get the same one. */
  #keep(table: DeltaTable): DeltaTable {
    const known = this.#tables.get(table.name) ?? table;
    this.#tables.set(table.name, known);
    return known;
  }
}

async function firstFolder(
  store: ObjectStore,
  options: StoreOptions & { readonly after: string },
): Promise<string | null> {
  for await (const { key } of store.list("", options)) {
    const end = key.indexOf("/");
    if (end > 0) return key.slice(0, end);
  }
  return null;
}

async function hasAny(store: ObjectStore, prefix: string, options: StoreOptions): Promise<boolean> {
  for await (const _ of store.list(prefix, options)) return true;
  return false;
}

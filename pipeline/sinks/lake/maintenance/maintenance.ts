/** What keeps a lake's tables in shape, by the table's name. @module */
import { ConfigError } from "../../../errors.ts";
import type { Lake } from "../lake.ts";
import type { StoreOptions } from "../object_store.ts";
import { cleanLog, type CleanLogReport } from "./clean_log.ts";
import { compact, type CompactReport } from "./compact.ts";
import { vacuum, type VacuumReport } from "./vacuum.ts";

export interface Maintenance {
  /** @throws ConfigError when there is no such table */
  compact(table: string, options: StoreOptions): Promise<CompactReport>;
  /** Removes what no version within the retention needs, and the log's old beginning. @throws ConfigError as `compact` */
  vacuum(
    table: string,
    options: StoreOptions & { readonly retentionMs?: number },
  ): Promise<VacuumReport & CleanLogReport>;
}

export interface MaintenanceOptions {
  readonly lake: Lake;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
  /** See `compact.ts`. */
  readonly smallBytes?: number;
  readonly targetBytes?: number;
}

export function createMaintenance({ lake, now = Date.now, ...sizes }: MaintenanceOptions): Maintenance {
  const { store, database } = lake;
  return {
    async compact(name, options) {
      const table = await lake.table(name, options);
      if (table === null) {
        throw new ConfigError({ where: "table", problem: `there is no table ${name} in ${store.url}` });
      }
      return await compact(table, { store, database, ...sizes, ...options });
    },
    async vacuum(name, options) {
      const with_ = { store, database, table: name, nowMs: now(), ...options };
      return { ...await vacuum(with_), ...await cleanLog(with_) };
    },
  };
}

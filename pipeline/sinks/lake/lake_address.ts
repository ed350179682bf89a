import { join } from "node:path";
import { LakeDatabase } from "./database.ts";
import type { Lake } from "./lake.ts";
import { openLake } from "./open_lake.ts";
import { openStore, type OpenStoreOptions } from "./open_store.ts";

/** How to open a lake; plain data, so that it can be sent to a thread. */
export interface LakeAddress extends OpenStoreOptions {
  /** What its DuckDB may take. */
  readonly memoryBytesMax: number;
  readonly threads: number;
}

/** Where DuckDB puts what does not fit into its memory; what is there before a start is nobody's. */
export function spillFolder(dataDir: string): string {
  return join(dataDir, "duckdb");
}

/** Opens a lake with a DuckDB of its own. Nothing is read or sent yet. @throws ConfigError when the address names no store */
export function openLakeAt({ memoryBytesMax, threads, ...options }: LakeAddress): Lake {
  const store = openStore(options);
  // One for each: DuckDB removes what it finds there.
  const scratch = join(spillFolder(options.dataDir), crypto.randomUUID());
  return openLake({ store, database: new LakeDatabase({ scratch, memoryBytesMax, threads }) });
}

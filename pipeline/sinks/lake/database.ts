/**
 * The DuckDB that writes a lake's files and reads them for Tailrace's own questions. Only trusted SQL runs here; users' runs in a
 * process of its own.
 *
 * @module
 */
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import type { HeldRows } from "./columns/held_rows.ts";
import { type HeldScan, HeldScans } from "./columns/scan_held.ts";

export interface LakeDatabaseOptions {
  /** Where what does not fit into memory goes; made when it is needed. */
  readonly scratch: string;
  readonly memoryBytesMax: number;
  readonly threads: number;
}

/** One in-memory instance; a connection for each task at a time. */
export class LakeDatabase implements AsyncDisposable {
  readonly #options: LakeDatabaseOptions;
  #opened: Promise<DuckDBInstance> | null = null;
  #scans: HeldScans | null = null;

  constructor(options: LakeDatabaseOptions) {
    this.#options = options;
  }

  /** A new connection; the caller closes it (`closeSync`). Times are in UTC. */
  async connect(): Promise<DuckDBConnection> {
    this.#opened ??= this.#open();
    const connection = await (await this.#opened).connect();
    await connection.run("SET TimeZone = 'UTC'");
    return connection;
  }

  /** Does something over a connection of its own. */
  async use<T>(work: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
    const connection = await this.connect();
    try {
      return await work(connection);
    } finally {
      connection.closeSync();
    }
  }

  /** Lets its connections, of which there is one, ask for the rows that there are now. */
  scan(held: HeldRows): HeldScan {
    if (this.#scans === null) throw new Error("The database is not open");
    return this.#scans.add(held);
  }

  async #open(): Promise<DuckDBInstance> {
    const { scratch, memoryBytesMax, threads } = this.#options;
    await Deno.mkdir(scratch, { recursive: true });
    const instance = await DuckDBInstance.create(":memory:", {
      threads: String(threads),
      memory_limit: `${Math.ceil(memoryBytesMax / 1024)}KiB`,
      temp_directory: scratch,
      autoinstall_known_extensions: "false",
      autoload_known_extensions: "false",
      // Rows come back as DuckDB finds it fastest: what matters is sorted by what asks.
      preserve_insertion_order: "false",
    });
    const connection = await instance.connect();
    this.#scans = new HeldScans(connection);
    connection.closeSync();
    return instance;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    (await this.#opened?.catch(() => null))?.closeSync();
    this.#opened = this.#scans = null;
  }
}

/**
 * Where rows from memory are on their way to questions: a folder for each capture, gone with it.
 *
 *     <scratch>/captures/<random>/live-0.parquet
 *
 * @module
 */
import { join, resolve } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import type { LakeDatabase } from "../../pipeline/sinks/lake/database.ts";

export class CaptureFolder {
  readonly #root: string;
  readonly #database: LakeDatabase;
  #made: Promise<void> | null = null;

  constructor(database: LakeDatabase, scratch: string) {
    this.#root = join(resolve(scratch), "captures");
    this.#database = database;
  }

  /** A new folder, with a full path. What a process that was killed left is removed at first. */
  async make(): Promise<string> {
    this.#made ??= this.#clear();
    try {
      await this.#made;
    } catch (error) {
      this.#made = null;
      throw error;
    }
    return await Deno.makeTempDir({ dir: this.#root });
  }

  /** Does something over a connection, which is ended in the middle when the signal says so. @throws the signal's reason */
  async use<T>(signal: AbortSignal, work: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    return await this.#database.use(async (connection) => {
      const end = () => connection.interrupt();
      signal.addEventListener("abort", end, { once: true });
      try {
        return await work(connection);
      } catch (error) {
        signal.throwIfAborted();
        throw error;
      } finally {
        signal.removeEventListener("abort", end);
      }
    });
  }

  /** Removes one that `make` gave. */
  async remove(folder: string): Promise<void> {
    await Deno.remove(folder, { recursive: true }).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
  }

  async #clear(): Promise<void> {
    await this.remove(this.#root);
    await Deno.mkdir(this.#root, { recursive: true });
  }
}

/**
 * COPY straight into the table, for rows that are all new: half the work of an upsert for the server.
 *
 * @module
 */
import type postgres from "postgres";
import type { ResultColumn } from "../plan/plan.ts";
import { identifier, literal } from "../sql_text.ts";
import type { Fence } from "./ownership.ts";
import { tableName } from "./postgres_types.ts";

/** Below this an upsert is as fast, and takes one round trip instead of two. */
export const COPY_ROWS_MIN = 500;

/** Chunks that go without a try after a row was there already; doubles with each further time. */
const SKIP_FIRST = 4;
const SKIP_MAX = 512;

/**
 * The COPY for these columns; the others take their defaults. With a fence it fails when the token is not the newest: both
 * statements go in one message, which is one transaction, so the owner's row is locked until the rows are committed.
 */
export function copyStatement(table: string, columns: readonly ResultColumn[], fence: Fence | null = null): string {
  const names = columns.map(({ name }) => identifier(name)).join(", ");
  const hold = fence ? `SELECT tailrace.hold_ownership(${literal(fence.pipeline)}, ${fence.token});\n` : "";
  return `${hold}COPY ${tableName(table).sql} (${names}) FROM STDIN (FORMAT binary)`;
}

/**
 * Whether the next chunk is worth a COPY. A pipeline that publishes closed windows writes each row once, and COPY succeeds
 * for all but repeats after a crash; one that publishes updates writes most rows again, and soon hardly tries.
 */
export class CopyPolicy {
  #skip = 0;
  #skipNext = SKIP_FIRST;

  worthTrying(): boolean {
    if (this.#skip === 0) return true;
    this.#skip--;
    return false;
  }

  succeeded(): void {
    this.#skipNext = SKIP_FIRST;
  }

  /** A row was there already. */
  collided(): void {
    this.#skip = this.#skipNext;
    this.#skipNext = Math.min(2 * this.#skipNext, SKIP_MAX);
  }
}

/**
 * Runs a COPY as one message, all rows or none, committed when this resolves. Nothing else may run on the client meanwhile.
 *
 * @throws PostgresError 23505 when a row is there already; nothing was written then
 */
export async function copyIn(sql: postgres.Sql, statement: string, bytes: Uint8Array): Promise<void> {
  const query = sql.unsafe(statement);
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {});
  // The client has settled the query by the time it hands out the stream. An error that the server reports after the last
  // byte, as it does when a row is there already, then reaches neither query nor stream and would be waited for forever:
  // the client's own call to the query's `reject` is the only trace of it.
  const settled = query as unknown as { reject(error: Error): void };
  const reject = settled.reject;
  settled.reject = (error) => {
    failed.reject(error);
    reject(error);
  };
  const stream = await query.writable();
  // The client keeps the stream of a COPY that failed, and ends it when the next command is complete. To end it is to tell the
  // server that the COPY failed; by then that may be another one. From here on nothing of this one is left to tell.
  const forget = () => stream._destroy = (error, callback) => callback(error);
  const finished = new Promise<void>((resolve, reject) => {
    stream.once("finish", () => {
      forget();
      resolve();
    });
    stream.on("error", reject);
  });
  stream.end(bytes);
  try {
    await Promise.race([finished, failed.promise]);
  } finally {
    forget();
  }
}

/**
 * Which process runs a pipeline, as the database knows it: one row per pipeline in `tailrace.owners`, whose token grows each
 * time a process takes the pipeline over.
 *
 *     claim:  token 7 ▶ 8, waits for the lock that a write under token 7 holds
 *     write:  checks that the token is still its own, and keeps it so until it is committed
 *
 * So all that an owner writes is committed before the next owner begins, or not at all. All functions need the migrations
 * applied.
 *
 * @module
 */
import type postgres from "postgres";
import { UnavailableError } from "../errors.ts";
import { literal } from "../sql_text.ts";
import { codeOf, sortedError } from "./postgres_errors.ts";

/** A process's right to write for a pipeline. */
export interface Fence {
  readonly pipeline: string;
  /** From `claimOwnership`. */
  readonly token: number;
}

/** A write that has waited so long for its process is taken to be stuck: the process is frozen or cut off. */
export const STUCK_MS = 3_000;

/** How long a claim waits for a write of the former owner before it looks whether that is stuck, and how often it does. */
const LOCK_WAIT_MS = 1_000;
const LOCK_WAITS_MAX = 15;

const LOCK_NOT_AVAILABLE = "55P03";

/**
 * Takes a pipeline over, once per process, at its start. A write of the former owner that is under way ends first; one whose
 * process does not go on is broken off after `stuckMs`, by default `STUCK_MS`.
 *
 * @param options.process who takes it over, for people: `host:pid`
 * @throws UnavailableError when the server is away, or the former owner's write takes longer than 15 s. A repeat is harmless.
 */
export async function claimOwnership(
  sql: postgres.Sql,
  options: { readonly pipeline: string; readonly process: string; readonly stuckMs?: number },
): Promise<{ readonly token: number; readonly generation: number }> {
  const { pipeline, process, stuckMs } = options;
  const statement = `INSERT INTO tailrace.owners AS o (pipeline, token, process, since)
VALUES (${literal(pipeline)}, 1, ${literal(process)}, clock_timestamp())
ON CONFLICT (pipeline) DO UPDATE SET token = o.token + 1, process = excluded.process, since = clock_timestamp()`;
  return await changeOwner(sql, statement, { pipeline, stuckMs });
}

/**
 * Resolves when the pipeline still belongs to the process that was given this token.
 *
 * @throws ConflictError when another process took it over since
 * @throws UnavailableError when the server is away
 */
export async function assertOwner(sql: postgres.Sql, { pipeline, token }: Fence): Promise<void> {
  try {
    await sql.unsafe("SELECT tailrace.hold_ownership($1, $2::bigint)", [pipeline, String(token)]);
  } catch (error) {
    throw sortedError(error, "tailrace.owners");
  }
}

/**
 * How often a pipeline was rewound; 0 when it never was.
 *
 * @throws UnavailableError when the server is away
 */
export async function readGeneration(sql: postgres.Sql, pipeline: string): Promise<number> {
  try {
    const rows = await sql<{ generation: string }[]>`
      SELECT generation::text FROM tailrace.owners WHERE pipeline = ${pipeline}`;
    return Number(rows[0]?.generation ?? 0);
  } catch (error) {
    throw sortedError(error, "tailrace.owners");
  }
}

/**
 * Gives a pipeline that is rewound its next generation, higher than the one before and than `above`. A repeat raises it once
 * more, which is harmless: all that matters is that it grows.
 *
 * @throws UnavailableError as `claimOwnership`
 */
export async function raiseGeneration(
  sql: postgres.Sql,
  { pipeline, above = 0 }: { readonly pipeline: string; readonly above?: number },
): Promise<number> {
  if (!Number.isSafeInteger(above)) throw new RangeError(`Cannot raise a generation above ${above}`);
  const statement = `INSERT INTO tailrace.owners AS o (pipeline, generation) VALUES (${literal(pipeline)}, ${above} + 1)
ON CONFLICT (pipeline) DO UPDATE SET generation = greatest(o.generation, ${above}) + 1`;
  return (await changeOwner(sql, statement, { pipeline })).generation;
}

/** Changes the row, which waits for the locks of all writes that checked it. */
async function changeOwner(
  sql: postgres.Sql,
  statement: string,
  { pipeline, stuckMs = STUCK_MS }: { readonly pipeline: string; readonly stuckMs?: number },
): Promise<{ readonly token: number; readonly generation: number }> {
  try {
    for (let waits = 0; waits < LOCK_WAITS_MAX; waits++) {
      try {
        // One message is one transaction, and its setting ends with it.
        const [, [row]] = await sql.unsafe(
          `SELECT set_config('lock_timeout', '${Math.min(LOCK_WAIT_MS, stuckMs)}', true);\n` +
            `${statement} RETURNING token::text, generation::text`,
        ) as unknown as { token: string; generation: string }[][];
        return { token: Number(row.token), generation: Number(row.generation) };
      } catch (error) {
        if (codeOf(error) !== LOCK_NOT_AVAILABLE) throw error;
        await breakStuckWrites(sql, stuckMs);
      }
    }
  } catch (error) {
    throw sortedError(error, "tailrace.owners");
  }
  throw new UnavailableError(`PostgreSQL is still writing for the process that ran pipeline ${pipeline} before`);
}

/**
 * Ends connections that hold an owner's row and have waited for their client for long: of a process that is frozen in the
 * middle of a COPY the server would wait for the rest forever. Their transactions are rolled back.
 */
async function breakStuckWrites(sql: postgres.Sql, stuckMs: number): Promise<void> {
  await sql.unsafe(`
    SELECT pg_terminate_backend(activity.pid)
    FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid)
    WHERE held.relation = 'tailrace.owners'::regclass AND held.mode = 'RowShareLock' AND held.granted
      AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND activity.pid <> pg_backend_pid() AND activity.wait_event = 'ClientRead'
      AND activity.xact_start < clock_timestamp() - interval '${stuckMs} milliseconds'`);
}

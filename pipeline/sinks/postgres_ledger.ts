import type postgres from "postgres";
import type { LedgerEntry } from "../ledger.ts";
import type { Fence } from "./ownership.ts";
import { sortedError } from "./postgres_errors.ts";

/** Statement for `writeLedger`; one row per partition, each column an array. */
const STATEMENT = `INSERT INTO tailrace.partitions AS p (
  pipeline, topic, partition, start_offset, position, consumed, aggregated, filtered, late, dead, duplicate, committed_at)
SELECT $1, $3, u.*, now()
FROM tailrace.hold_ownership($1, $2::bigint), unnest(
  $4::int[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],
  $12::bigint[]) AS u
ON CONFLICT (pipeline, topic, partition) DO UPDATE SET start_offset = excluded.start_offset,
  position = excluded.position, consumed = excluded.consumed, aggregated = excluded.aggregated,
  filtered = excluded.filtered, late = excluded.late, dead = excluded.dead, duplicate = excluded.duplicate,
  committed_at = excluded.committed_at`;

/**
 * Notes in `tailrace.partitions` what became of every record of a topic, all partitions in one statement. What was read since
 * the last commit (`inFlight`) is not counted yet: `consumed` is written without it. Needs the migrations applied.
 *
 * @throws ConflictError when another process runs the pipeline now; nothing was written then
 * @throws UnavailableError when the server is away; a repeat replaces
 */
export async function writeLedger(
  sql: postgres.Sql,
  options: Fence & { readonly topic: string; readonly entries: readonly LedgerEntry[] },
): Promise<void> {
  const { pipeline, token, topic, entries } = options;
  const column = (value: (entry: LedgerEntry) => number) => `{${entries.map(value).join(",")}}`;
  try {
    await sql.unsafe(STATEMENT, [
      pipeline,
      String(token),
      topic,
      column(({ partition }) => partition),
      column(({ start }) => start),
      column(({ position }) => position),
      column(({ consumed, inFlight }) => consumed - inFlight),
      column(({ aggregated }) => aggregated),
      column(({ filtered }) => filtered),
      column(({ late }) => late),
      column(({ dead }) => dead),
      column(({ duplicate }) => duplicate),
    ]);
  } catch (error) {
    throw sortedError(error, "tailrace.partitions");
  }
}

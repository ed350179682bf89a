import type { Difference } from "./compare.ts";
import type { Compared } from "./places.ts";
import type { PostgresResults, Repair, StoredRows } from "./postgres_results.ts";
import type { ExpectedRows } from "./expected_rows.ts";

/** Rows of one statement. */
const ROWS_AT_A_TIME = 2_000;

/** What puts a table right. */
export interface TableRepair {
  readonly table: PostgresResults;
  readonly repair: Repair;
}

/** What puts the tables right, a bounded number of rows at a time. */
export function repairsOf({ stored, found }: Compared): TableRepair[] {
  return stored.flatMap(({ table, rows, expected }) => {
    const own = found.filter(({ place }) => place.kind === "postgres" && place.name === table.name);
    return repairOf(own.map(({ difference }) => difference), { expected, rows }).map((repair) => ({ table, repair }));
  });
}

/** The same for one table. */
export function repairOf(
  differences: readonly Difference[],
  { expected, rows }: { readonly expected: ExpectedRows; readonly rows: StoredRows },
): Repair[] {
  const repairs: Repair[] = [];
  for (let from = 0; from < differences.length; from += ROWS_AT_A_TIME) {
    const some = differences.slice(from, from + ROWS_AT_A_TIME);
    const of = (kind: Difference["kind"]) => some.filter((difference) => difference.kind === kind);
    repairs.push({
      must: expected.rows,
      is: rows.rows,
      rewritten: of("wrong").map(({ at }) => ({ row: at.expected, digest: rows.digests[at.actual] })),
      inserted: of("missing").map(({ at }) => at.expected),
      deleted: of("extra").map(({ at }) => ({ row: at.actual, digest: rows.digests[at.actual] })),
    });
  }
  return repairs;
}

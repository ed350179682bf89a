import type postgres from "postgres";
import type { CommittedLog } from "../log/transactions.ts";
import { type Plan, resultColumns } from "../plan/plan.ts";
import type { Lake } from "../sinks/lake/lake.ts";
import type { PlaceName } from "./audit.ts";
import { compareRows, type Difference } from "./compare.ts";
import { type ExpectedRows, expectedRows, ROWS_MAX } from "./expected_rows.ts";
import type { WindowRange } from "./expected_sql.ts";
import { LakeResults } from "./lake_results.ts";
import { PostgresResults, type StoredRows } from "./postgres_results.ts";
import { ResultsTopic } from "./results_topic.ts";
import { asPostgresKeeps } from "./result_values.ts";
import type { View } from "./view.ts";
import type { PlacedDifference } from "./window_book.ts";

/** What one table holds, and what it must. */
export interface StoredIn {
  readonly table: PostgresResults;
  readonly rows: StoredRows;
  readonly expected: ExpectedRows;
}

/** What the records of some windows give, and what is there. */
export interface Compared {
  readonly expected: ExpectedRows;
  readonly stored: readonly StoredIn[];
  readonly found: readonly PlacedDifference[];
}

export interface PlacesOptions {
  readonly plan: Plan;
  readonly sql: postgres.Sql;
  readonly log: CommittedLog;
  readonly lake: Lake;
}

/** All places that a pipeline's results are in. */
export class Places {
  readonly tables: readonly PostgresResults[];
  readonly #plan: Plan;
  readonly #topics: readonly ResultsTopic[];
  readonly #lakes: readonly LakeResults[];
  /** How long rows may wait for the lake; null where none go there. */
  readonly lakeEveryMs: number | null;

  constructor({ plan, sql, log, lake }: PlacesOptions) {
    this.#plan = plan;
    const columns = resultColumns(plan);
    this.tables = plan.sinks.flatMap((sink) =>
      sink.kind === "postgres" ? [new PostgresResults(sql, { table: sink.table, columns })] : []
    );
    this.#topics = plan.sinks.flatMap((sink) =>
      sink.kind === "kafka" ? [new ResultsTopic(log, { topic: sink.topic, pipeline: plan.name, columns })] : []
    );
    this.#lakes = plan.sinks.flatMap((sink) =>
      sink.kind === "lake" ? [new LakeResults(lake, { table: sink.table, columns })] : []
    );
    const waits = plan.sinks.flatMap((sink) => sink.kind === "lake" ? [sink.flush.everyMs] : []);
    this.lakeEveryMs = waits.length === 0 ? null : Math.max(...waits);
  }

  /** Takes up what came to the topics since; as `ResultsTopic.readOn`. */
  async readOn(options: { readonly nextWindowMs: () => number; readonly signal: AbortSignal }): Promise<void> {
    for (const topic of this.#topics) await topic.readOn(options);
  }

  /** Lets go of what is held of a window: it is as it must be. */
  settle(windowStartMs: number): void {
    for (const topic of this.#topics) topic.settle(windowStartMs);
  }

  /** The pipeline computes anew. */
  reset(): void {
    for (const topic of this.#topics) topic.reset();
  }

  /**
   * Compares the windows in a range everywhere; in the lake those for which `isDueInLake` says so.
   *
   * @throws TooManyRowsError when there are more rows than are held at a time
   */
  async compare(
    range: WindowRange,
    view: View,
    { isDueInLake }: { readonly isDueInLake: (windowStartMs: number) => boolean },
  ): Promise<Compared> {
    const { connection, cut, mark, tables, fields, signal } = view;
    const { generation } = mark;
    const compute = (archive: string) =>
      expectedRows(connection, this.#plan, { archive, fields, tables, range, generation, rowsMax: ROWS_MAX });
    const expected = await cut.read(range, compute, signal);
    const found: PlacedDifference[] = [];
    const add = (place: PlaceName, differences: readonly Difference[]) => {
      for (const difference of differences) found.push({ place, difference });
    };
    const kept = { ...expected, rows: asPostgresKeeps(expected.rows) };
    const stored: StoredIn[] = [];
    for (const table of this.tables) {
      const rows = await table.rows(range, { rowsMax: ROWS_MAX });
      add({ kind: "postgres", name: table.name }, compareRows(kept, rows.rows, { generation }));
      stored.push({ table, rows, expected: kept });
    }
    for (const topic of this.#topics) {
      const differences = compareRows(expected, topic.rows(range), { generation });
      // Of windows that were not read as a whole, or are held no longer, what is not here says nothing.
      const isTold = ({ kind, windowStartMs }: Difference) => kind !== "missing" || topic.isWhole(windowStartMs);
      add({ kind: "kafka", name: topic.name }, differences.filter(isTold));
    }
    for (const results of this.#lakes) {
      const rows = await results.rows(connection, range, { rowsMax: ROWS_MAX, signal });
      if (rows === null) continue;
      const differences = compareRows(expected, rows.rows, { generation });
      const isTold = ({ windowStartMs }: Difference) => isDueInLake(windowStartMs);
      add({ kind: "lake", name: results.name }, differences.filter(isTold));
    }
    return { expected, stored, found };
  }
}

import type { HistoryStore } from "../checkpoint/history.ts";
import type { Plan } from "../plan/plan.ts";
import { Lookback } from "../runtime/lookback.ts";
import type { Lake } from "../sinks/lake/lake.ts";
import { tumblingStart } from "../windows/tumbling.ts";
import { firstOffsets, leastEventTime } from "./archive_cut.ts";
import type { PostgresResults } from "./postgres_results.ts";
import type { View } from "./view.ts";

/** Windows that are told as not audited because the archive begins after them are counted up to this. */
const GONE_WINDOWS_MAX = 100_000;

export interface ReachOptions {
  readonly plan: Plan;
  readonly topic: string;
  readonly lake: Lake;
  readonly history: HistoryStore;
  readonly tables: readonly PostgresResults[];
}

/** How far back windows can be audited: the archive may begin later than the pipeline. */
export class Reach {
  readonly #options: ReachOptions;
  #oldestMs: number | null = null;
  #wholeFromMs = -Infinity;
  #goneWindows = 0;
  #known: { readonly rows: number; readonly partitions: number } | null = null;

  constructor(options: ReachOptions) {
    this.#options = options;
  }

  /** The first window there is anything of, and that can be audited; null while unknown. */
  get oldestMs(): number | null {
    return this.#oldestMs;
  }

  /** Windows that start before this lack records in the archive. */
  get wholeFromMs(): number {
    return this.#wholeFromMs;
  }

  /** How many of these there are in the first table. */
  get goneWindows(): number {
    return this.#goneWindows;
  }

  /** Nothing before this is audited any more. */
  cut(oldestMs: number): void {
    this.#oldestMs = Math.max(this.#oldestMs ?? oldestMs, oldestMs);
  }

  /** Has the next `update` look again. */
  forget(): void {
    this.#known = null;
  }

  /** Finds out, when the archive's beginning may have changed. */
  async update(view: View): Promise<void> {
    const { plan, lake, topic, tables } = this.#options;
    const { connection, mark, cut, signal } = view;
    const rows = cut.snapshot.files.reduce((sum, { stats }) => sum + (stats?.numRecords ?? 0), 0);
    const known = this.#known;
    // Before the first commit nothing tells how far back its records go.
    this.#known = rows === 0 ? null : { rows, partitions: cut.positions.size };
    // Records are only added behind those that are there, unless somebody takes some away.
    const isSame = known !== null && rows >= known.rows && cut.positions.size === known.partitions;
    if (isSame && this.#wholeFromMs !== Infinity) return;
    const first = await firstOffsets(connection, cut, { lake, topic, signal });
    const goneMs = await this.#goneMs(view, first);
    const windowAt = (ms: number) => tumblingStart(ms, plan.window.sizeMs, plan.window.offsetMs);
    this.#wholeFromMs = Number.isFinite(goneMs) ? windowAt(goneMs) + plan.window.sizeMs : goneMs;
    const stored = await Promise.all(tables.map((table) => table.first()));
    const leasts = [leastEventTime(plan, cut.snapshot), ...stored].filter((time) => time !== null);
    const least = leasts.length === 0 ? mark.watermarkMs : Math.min(...leasts);
    this.#oldestMs = Math.max(windowAt(least), this.#wholeFromMs);
    const before = Number.isFinite(this.#wholeFromMs) ? this.#wholeFromMs : mark.watermarkMs;
    const isAny = this.#wholeFromMs !== -Infinity && tables.length > 0;
    this.#goneWindows = isAny ? await tables[0].windowsBefore(before, GONE_WINDOWS_MAX) : 0;
  }

  /** Windows that start at or before this may have records that the archive does not hold; -Infinity when none has. */
  async #goneMs({ mark }: View, first: ReadonlyMap<number, number>): Promise<number> {
    const { plan, history } = this.#options;
    const firstOf = (partition: number) => first.get(partition) ?? Infinity;
    const lacking = mark.partitions.filter(({ partition, start, position }) =>
      position > start && firstOf(partition) > start
    );
    if (lacking.length === 0) return -Infinity;
    const now = mark.partitions.map(({ partition, position, maxEventTimeMs, raisedToMs, buckets }) => (
      { partition, position, maxEventTimeMs, raisedToMs, buckets }
    ));
    const positions = new Map(now.map(({ partition, position }) => [partition, position]));
    const samples = (await history.load(plan.name)).filter(({ partition, position }) =>
      position <= (positions.get(partition) ?? -1)
    );
    const earliest = new Map(lacking.map(({ partition }) => [partition, firstOf(partition)]));
    const lookback = new Lookback(plan, [...samples, ...now], earliest);
    return Math.max(...lacking.map(({ partition }) => lookback.goneIn(partition)));
  }
}

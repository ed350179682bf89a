/**
 * Comparing windows, and what follows from it: a window agrees, has to be looked at again, differs, or cannot be audited.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Plan } from "../plan/plan.ts";
import type { Settled } from "../runtime/settled.ts";
import type { PipelineStatus } from "../runtime/status.ts";
import { doubtAbout } from "./doubts.ts";
import { indexOf, ROWS_MAX, TooManyRowsError } from "./expected_rows.ts";
import type { WindowRange } from "./expected_sql.ts";
import { positionsOf } from "./marks.ts";
import type { Compared, Places } from "./places.ts";
import type { View } from "./view.ts";
import type { PlacedDifference, Suspicion, WindowBook } from "./window_book.ts";

/** Rows to aim at in one comparison. */
const ROWS_AIMED = 50_000;
/** Differences by which a second look knows a window's; their number counts too. */
const SIGNED_MAX = 500;

const ABANDONED = "of an earlier computation, whose records are not read any more";

export interface WindowAuditOptions {
  readonly plan: Plan;
  readonly clock: Clock;
  readonly pipeline: { settled(): Settled | null; status(): PipelineStatus };
  readonly places: Places;
  readonly book: WindowBook;
  /** A difference is looked at again after so long at the earliest. */
  readonly secondLookMs: number;
  /** Whether a window's rows, as a commit has them, have had the time to be committed to the lake. */
  readonly isDueInLake: (windowStartMs: number, mark: Settled) => boolean;
}

/** What the sinks held at a look, and when it was. */
interface Look {
  readonly view: View;
  readonly atMs: number;
  /** What the pipeline had read. */
  readonly positions: ReadonlyMap<number, number>;
}

export class WindowAudit {
  readonly #options: WindowAuditOptions;
  #span = 1;
  #rows = 0;

  constructor(options: WindowAuditOptions) {
    this.#options = options;
  }

  /** Windows to compare at once: as many as have few rows. */
  get span(): number {
    return this.#span;
  }

  /** Rows compared so far. */
  get rows(): number {
    return this.#rows;
  }

  /** Compares all windows in a range, in parts when they have too many rows. */
  async compare(range: WindowRange, view: View): Promise<void> {
    const { plan: { window: { sizeMs } }, book } = this.#options;
    const windows = Math.round((range.toMs - range.fromMs) / sizeMs);
    try {
      const rows = await this.#compareAtOnce(range, view);
      this.#rows += rows;
      if (rows > ROWS_AIMED) this.#span = Math.max(1, Math.floor(this.#span / 2));
      else if (windows >= this.#span && rows < ROWS_AIMED / 4) this.#span *= 2;
    } catch (error) {
      if (!(error instanceof TooManyRowsError)) throw error;
      this.#span = 1;
      if (windows === 1) return book.leave(range.fromMs, `more than ${ROWS_MAX} rows in one window`, new Map());
      const middle = range.fromMs + Math.floor(windows / 2) * sizeMs;
      await this.compare({ fromMs: range.fromMs, toMs: middle }, view);
      await this.compare({ fromMs: middle, toMs: range.toMs }, view);
    }
  }

  /**
   * Whether a second look may count: all that the sinks held at the first follows from a commit, and nothing of it is under way
   * any more.
   */
  mayCount(mark: Settled, { atMs, positions }: Pick<Suspicion, "atMs" | "positions">): boolean {
    const { pipeline, clock, secondLookMs } = this.#options;
    if (clock.now() - atMs < secondLookMs) return false;
    const newest = pipeline.settled();
    if (newest?.generation !== mark.generation) return false;
    const read = positionsOf(mark);
    // After a crash the pipeline reads again what it had read then.
    if ([...positions].some(([partition, position]) => (read.get(partition) ?? 0) < position)) return false;
    return mark.savedAtMs > atMs || pipeline.status().state === "stopped" && newest.epoch === mark.epoch;
  }

  /** What the pipeline has read, by partition. */
  positions(): Map<number, number> {
    const { partitions } = this.#options.pipeline.status();
    return new Map(partitions.map(({ partition, position }) => [partition, position]));
  }

  /** How many rows were compared. */
  async #compareAtOnce(range: WindowRange, view: View): Promise<number> {
    const { places, clock, book, isDueInLake } = this.#options;
    const isDue = (start: number) => isDueInLake(start, view.mark);
    const compared = await places.compare(range, view, { isDueInLake: isDue });
    // After the sinks were read: what was in them had been read before.
    const look = { view, atMs: clock.now(), positions: this.positions() };
    const { found, expected } = compared;
    const column = indexOf(expected.rows.columns, "window_start");
    const wanted = new Set(expected.rows.values[column].map(Number));
    const digests = digestsOf(compared, column);
    const byWindow = Map.groupBy(found, ({ difference }) => difference.windowStartMs);
    const starts = new Set([...wanted, ...digests.keys(), ...byWindow.keys()]);
    for (const [start] of book.between(range.fromMs, range.toMs)) if (!starts.has(start)) book.forget(start);
    for (const start of [...book.suspicions.keys()]) {
      if (start >= range.fromMs && start < range.toMs && !starts.has(start)) book.suspicions.delete(start);
    }
    for (const start of starts) {
      const sums = digests.get(start) ?? new Map();
      const differences = byWindow.get(start) ?? [];
      if (differences.length > 0) await this.#noteDifferences(start, differences, { look, sums });
      else if (!wanted.has(start)) book.leave(start, ABANDONED, sums);
      else {
        book.agree(start, sums);
        places.settle(start);
      }
    }
    return expected.rows.length;
  }

  async #noteDifferences(
    start: number,
    found: readonly PlacedDifference[],
    { look, sums }: { readonly look: Look; readonly sums: ReadonlyMap<string, string> },
  ): Promise<void> {
    const { book, plan } = this.#options;
    const { view, atMs, positions } = look;
    const signature = signatureOf(found);
    const suspicion = book.suspicions.get(start);
    if (suspicion?.signature !== signature) {
      // What differs otherwise now is looked at anew.
      book.suspicions.set(start, { signature, atMs, positions });
      return;
    }
    if (!this.mayCount(view.mark, suspicion)) return;
    const before = book.get(start);
    const isKnown = before !== undefined && (before.hasAgreed || before.counts.length > 0);
    const doubt = isKnown ? null : await doubtAbout(plan, start, view);
    if (doubt !== null) book.leave(start, doubt, sums);
    else book.differ(start, found, { digests: sums, foundMs: atMs });
  }
}

/** By window and table, what the rows come to. */
function digestsOf({ stored }: Compared, startColumn: number): Map<number, Map<string, string>> {
  const digests = new Map<number, Map<string, string>>();
  for (const { table, rows } of stored) {
    const sums = new Map<number, bigint>();
    rows.rows.values[startColumn].forEach((start, row) => {
      sums.set(Number(start), (sums.get(Number(start)) ?? 0n) + rows.digests[row]);
    });
    for (const [start, sum] of sums) {
      digests.set(start, (digests.get(start) ?? new Map<string, string>()).set(table.name, String(sum)));
    }
  }
  return digests;
}

/** What was found, as text: what differs the same way is the same difference. */
function signatureOf(found: readonly PlacedDifference[]): string {
  const texts = found.slice(0, SIGNED_MAX).map(({ place, difference: { kind, key, expected, actual } }) =>
    `${place.kind} ${place.name} ${kind} ${key.join("\u0001")} ${expected?.join("\u0001")} ${actual?.join("\u0001")}`
  );
  return `${found.length}\n${texts.sort().join("\n")}`;
}

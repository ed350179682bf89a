/**
 * The audit of a pipeline: windows that have closed are computed again from the archive, by DuckDB, and compared with what the
 * sinks hold.
 *
 *     pass: last commit, letters, archive ▶ digests of the table ▶ second looks ▶ changed windows ▶ new windows ▶ older windows
 *
 * A window is audited in full once; from then on by a digest of its rows, and in full again when that is another one. What
 * differs is looked at a second time, after the pipeline's next commit: only then it counts.
 *
 * @module
 */
import type postgres from "postgres";
import type { HistoryStore } from "../checkpoint/history.ts";
import { UnavailableError } from "../errors.ts";
import type { Settled } from "../runtime/settled.ts";
import type { PipelineStatus } from "../runtime/status.ts";
import { supervise } from "../runtime/supervisor.ts";
import type { Fence } from "../sinks/ownership.ts";
import { tumblingStart } from "../windows/tumbling.ts";
import type { Auditor, AuditStatus, FoundDifference, RepairReport } from "./audit.ts";
import type { WindowRange } from "./expected_sql.ts";
import { cameBackTo } from "./marks.ts";
import { Places } from "./places.ts";
import { Reach } from "./reach.ts";
import { repairsOf, type TableRepair } from "./repair.ts";
import { TableDigests } from "./table_digests.ts";
import { type View, type ViewOptions, Views } from "./view.ts";
import { WindowAudit } from "./window_audit.ts";
import { type Suspicion, WindowBook } from "./window_book.ts";

/** How an audit takes its time. */
export interface Pace {
  /** Between two passes, and between two looks at the digests. */
  readonly quietMs: number;
  /** Between two passes while there is something to look at a second time, or windows that were never audited. */
  readonly busyMs: number;
  /** A difference is looked at again after so long at the earliest. */
  readonly secondLookMs: number;
  /** After its rows were written, and the flush that was due, a window is looked for in the lake. */
  readonly lakeMs: number;
}

export const PACE: Pace = { quietMs: 15_000, busyMs: 4_000, secondLookMs: 3_000, lakeMs: 30_000 };
/** Work of one pass on windows, so that an audit takes no more than a part of one processor. */
const WORK_MS = 1_500;
/** Windows that differ in a topic or in the lake, and are looked at again while they do: the newest of them. */
const LOOKED_AGAIN_MAX = 50;
/** How long a repair waits for the commit that says that nothing changed meanwhile. */
const REPAIR_WAIT_MS = 20_000;
const REPAIR_LOOK_MS = 100;

export interface AuditorOptions extends ViewOptions {
  readonly history: HistoryStore;
  /** A client of its own: a look at a large table takes seconds, and shall keep no one waiting. */
  readonly sql: postgres.Sql;
  /** The pipeline that runs, or rests, in this process. */
  readonly pipeline: { settled(): Settled | null; status(): PipelineStatus };
  /** Its right to write; null while it has none. */
  readonly fence: () => Fence | null;
  /** Whether results wait for the lake longer than they should: what is not there then is no difference. */
  readonly lakeWaits?: () => boolean;
  readonly onLog: (level: "info" | "warn" | "error", message: string) => void;
  /** Instead of `PACE`. */
  readonly pace?: Pace;
}

/** Makes the auditor of one pipeline. Its `run` does all that is done by itself. */
export function createAuditor(options: AuditorOptions): Auditor {
  return new PipelineAuditor(options);
}

class PipelineAuditor implements Auditor {
  readonly pipeline: string;
  readonly #options: AuditorOptions;
  readonly #pace: Pace;
  readonly #book: WindowBook;
  readonly #views: Views;
  readonly #places: Places;
  readonly #reach: Reach;
  readonly #digests: TableDigests;
  readonly #windows: WindowAudit;
  /** Windows to compare again. */
  readonly #changed = new Set<number>();
  /** Windows whose rows were not due in the lake when they were compared. */
  readonly #lakeLater = new Set<number>();
  #turn: Promise<unknown> = Promise.resolve();
  #computed: Pick<Settled, "generation" | "topicId"> | null = null;
  #range: { fromMs: number; toMs: number } | null = null;
  #digestedAt = -Infinity;
  #lastPassMs: number | null = null;
  #reason: string | null = "it has not begun yet";

  constructor(options: AuditorOptions) {
    const { plan, clock, pipeline, archive, pace = PACE } = options;
    this.pipeline = plan.name;
    this.#options = options;
    this.#pace = pace;
    this.#book = new WindowBook(plan.window);
    this.#views = new Views(options);
    this.#places = new Places(options);
    const { tables } = this.#places;
    this.#reach = new Reach({ ...options, topic: archive.topic, tables });
    this.#digests = new TableDigests(tables, this.#book);
    this.#windows = new WindowAudit({
      plan,
      clock,
      pipeline,
      places: this.#places,
      book: this.#book,
      secondLookMs: pace.secondLookMs,
      isDueInLake: (start, mark) => this.#isDueInLake(start, mark),
    });
  }

  status(): AuditStatus {
    const { notAuditable, ...figures } = this.#book.figures();
    const left = [...notAuditable].map(([reason, windows]) => ({ reason, windows }));
    const { goneWindows, oldestMs } = this.#reach;
    if (goneWindows > 0) left.push({ reason: "the archive begins after their first records", windows: goneWindows });
    const calm = this.#isBehind() ? "behind" : "agrees";
    return {
      pipeline: this.pipeline,
      state: figures.differing > 0 ? "differs" : this.#reason !== null ? "waiting" : calm,
      reason: this.#reason,
      ...figures,
      notAuditable: left,
      range: this.#range && { ...this.#range },
      oldestMs,
      rows: this.#windows.rows,
      lastPassMs: this.#lastPassMs,
    };
  }

  differences({ limit }: { readonly limit: number }): readonly FoundDifference[] {
    return this.#book.differences(limit);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, onLog } = this.#options;
    // A query under way is not waited for.
    signal.addEventListener("abort", () => this.#views.interrupt(), { once: true });
    const isWhole = await supervise(`audit of ${this.pipeline}`, (until) => this.#passes(until), {
      clock,
      signal,
      log: (level, message) => {
        this.#reason = message;
        onLog(level, message);
      },
    });
    await this.#inTurn(() => Promise.resolve(this.#views.close()));
    if (isWhole) this.#reason = "it was ended";
  }

  repair({ signal }: { readonly signal: AbortSignal }): Promise<RepairReport> {
    return this.#inTurn(() => this.#repair(signal));
  }

  async #passes(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      try {
        this.#reason = await this.#inTurn(() => this.#pass(signal));
        if (this.#reason === null) this.#lastPassMs = clock.now();
      } catch (error) {
        if (!(error instanceof UnavailableError)) throw error;
        this.#reason = error.message;
      }
      const isBusy = this.#book.suspicions.size > 0 || this.#changed.size > 0 || this.#isBehind();
      await clock.sleep(isBusy ? this.#pace.busyMs : this.#pace.quietMs, signal).catch(() => {});
    }
  }

  /** Passes and repairs take turns: they share the connection and its tables. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  #isBehind(): boolean {
    const { oldestMs } = this.#reach;
    return this.#range === null || (oldestMs !== null && this.#range.fromMs > oldestMs);
  }

  /** One pass; why nothing could be audited, or null. */
  #pass(signal: AbortSignal): Promise<string | null> {
    return this.#look(signal, async (view) => {
      await this.#lookAtDigests();
      const { clock } = this.#options;
      const until = clock.monotonic() + WORK_MS;
      const isTime = () => clock.monotonic() < until && !signal.aborted;
      const { suspicions } = this.#book;
      const second = [...suspicions].filter(([, suspicion]) => this.#windows.mayCount(view.mark, suspicion));
      await this.#compareEach(second.map(([start]) => start), view, isTime);
      // Those have to wait for their second look.
      for (const start of suspicions.keys()) this.#changed.delete(start);
      await this.#compareEach([...this.#changed], view, isTime);
      await this.#newWindows(view, isTime);
      await this.#lakeWindows(view, isTime);
      await this.#olderWindows(view, isTime);
      this.#trim();
    });
  }

  /** Does something with a view; tells why there is none, or null. */
  async #look(signal: AbortSignal, work: (view: View) => Promise<void>): Promise<string | null> {
    const { pipeline } = this.#options;
    const nextWindowMs = () => this.#windowAt(pipeline.status().watermarkMs ?? -Infinity);
    const readOn = () => this.#places.readOn({ nextWindowMs, signal });
    const sinceMs = Math.max(-Infinity, ...Array.from(this.#book.suspicions.values(), ({ atMs }) => atMs));
    return await this.#views.open({ readOn, sinceMs, signal }, async (view) => {
      this.#begin(view.mark);
      if (view.mark.watermarkMs === -Infinity) return "no window has closed yet";
      await this.#reach.update(view);
      await work(view);
      return null;
    });
  }

  /** A pipeline that was rewound, or reads another topic, computes anew. */
  #begin({ generation, topicId }: Settled): void {
    const before = this.#computed;
    if (before?.generation === generation && before.topicId === topicId) return;
    this.#computed = { generation, topicId };
    if (before === null) return;
    this.#book.clear();
    this.#changed.clear();
    this.#lakeLater.clear();
    this.#range = null;
    this.#reach.forget();
    this.#places.reset();
  }

  async #lookAtDigests(): Promise<void> {
    const { clock } = this.#options;
    if (this.#range === null || clock.monotonic() - this.#digestedAt < this.#pace.quietMs) return;
    this.#digestedAt = clock.monotonic();
    for (const start of await this.#digests.look(this.#range)) this.#changed.add(start);
    // No digest tells whether what differs elsewhere still does.
    for (const start of this.#elsewhere().slice(-LOOKED_AGAIN_MAX)) this.#changed.add(start);
  }

  async #newWindows(view: View, isTime: () => boolean): Promise<void> {
    const end = this.#windowAt(view.mark.watermarkMs);
    const { wholeFromMs } = this.#reach;
    if (wholeFromMs > end) return;
    const range = this.#range ??= { fromMs: end, toMs: end };
    if (range.toMs < wholeFromMs) range.fromMs = range.toMs = wholeFromMs;
    while (range.toMs < end && isTime()) {
      const toMs = Math.min(end, range.toMs + this.#windows.span * this.#sizeMs);
      await this.#compare({ fromMs: range.toMs, toMs }, view);
      range.toMs = toMs;
    }
  }

  async #olderWindows(view: View, isTime: () => boolean): Promise<void> {
    const range = this.#range;
    const { oldestMs } = this.#reach;
    if (range === null || oldestMs === null) return;
    while (range.fromMs > oldestMs && isTime()) {
      const fromMs = Math.max(oldestMs, range.fromMs - this.#windows.span * this.#sizeMs);
      await this.#compare({ fromMs, toMs: range.fromMs }, view);
      range.fromMs = fromMs;
    }
  }

  async #lakeWindows(view: View, isTime: () => boolean): Promise<void> {
    const due = [...this.#lakeLater].filter((start) => this.#isDueInLake(start, view.mark));
    for (const start of due) this.#lakeLater.delete(start);
    await this.#compareEach(due, view, isTime);
  }

  /** Compares some windows, neighbours at once; what there is no time for stays in `#changed`. */
  async #compareEach(starts: readonly number[], view: View, isTime: () => boolean): Promise<void> {
    const sorted = [...new Set(starts.map((start) => this.#windowAt(start)))].sort((a, b) => a - b);
    for (const start of starts) this.#changed.add(start);
    for (let i = 0; i < sorted.length && isTime();) {
      let last = i;
      const isNext = () => sorted[last + 1] === sorted[last] + this.#sizeMs;
      while (isNext() && last - i + 1 < this.#windows.span) last++;
      const range = { fromMs: sorted[i], toMs: sorted[last] + this.#sizeMs };
      await this.#compare(range, view);
      for (const start of this.#changed) if (start >= range.fromMs && start < range.toMs) this.#changed.delete(start);
      i = last + 1;
    }
  }

  async #compare(range: WindowRange, view: View): Promise<void> {
    await this.#windows.compare(range, view);
    if (this.#places.lakeEveryMs === null) return;
    for (const [start] of this.#book.between(range.fromMs, range.toMs)) {
      if (!this.#isDueInLake(start, view.mark)) this.#lakeLater.add(start);
    }
  }

  /** Whether a window's rows, as a commit has them, have had the time to be committed to the lake. */
  #isDueInLake(start: number, mark: Settled): boolean {
    if (this.#options.lakeWaits?.()) return false;
    const beforeMs = this.#options.clock.now() - (this.#places.lakeEveryMs ?? 0) - this.#pace.lakeMs;
    const then = this.#views.marks.before(beforeMs);
    // A record that came back since made another row of it.
    return then !== null && start + this.#sizeMs <= then.watermarkMs &&
      cameBackTo(start, then) === cameBackTo(start, mark);
  }

  /** Forgets the oldest windows when there are too many. */
  #trim(): void {
    const cut = this.#book.trim();
    if (cut === null) return;
    if (this.#range) this.#range.fromMs = Math.max(this.#range.fromMs, cut);
    this.#reach.cut(cut);
  }

  /** Windows that differ where only a new computation helps. */
  #elsewhere(): number[] {
    return [...this.#book.differing("kafka"), ...this.#book.differing("lake")].sort((a, b) => a - b);
  }

  async #repair(signal: AbortSignal): Promise<RepairReport> {
    const { clock } = this.#options;
    const fence = this.#options.fence();
    if (fence === null) throw refused(`${this.pipeline} is not run by this process now`);
    const done = { rewritten: 0, inserted: 0, deleted: 0 };
    const starts = [...new Set(this.#book.differing("postgres").map((start) => this.#windowAt(start)))];
    const repairs: TableRepair[] = [];
    let seen: Settled | null = null;
    const waits = await this.#look(signal, async (view) => {
      seen = view.mark;
      for (const fromMs of starts) {
        const range = { fromMs, toMs: fromMs + this.#sizeMs };
        const isDueInLake = () => false;
        repairs.push(...repairsOf(await this.#places.compare(range, view, { isDueInLake })));
      }
    });
    if (waits !== null) throw refused(waits);
    const look = { atMs: clock.now(), positions: this.#windows.positions() };
    if (repairs.length > 0) await this.#untilCommitted(look, { seen: seen!, starts, signal });
    for (const { table, repair } of repairs) {
      const { rewritten, inserted, deleted } = await table.repair(repair, fence);
      done.rewritten += rewritten;
      done.inserted += inserted;
      done.deleted += deleted;
    }
    await this.#look(signal, (view) => this.#compareEach(starts, view, () => !signal.aborted));
    const left = this.#book.figures().differences;
    const [first] = this.#elsewhere();
    return {
      ...done,
      left: left.reduce((sum, { counts }) => sum + counts.wrong + counts.missing + counts.extra, 0),
      rewindToMs: first === undefined ? null : this.#windowAt(first),
    };
  }

  /** Waits for the commit that says that nothing of what the tables held was under way. */
  async #untilCommitted(
    look: Pick<Suspicion, "atMs" | "positions">,
    { seen, starts, signal }: {
      readonly seen: Settled;
      readonly starts: readonly number[];
      readonly signal: AbortSignal;
    },
  ): Promise<void> {
    const { clock, pipeline } = this.#options;
    for (const until = clock.monotonic() + REPAIR_WAIT_MS;;) {
      const now = pipeline.settled();
      if (now === null || !isSameFor(seen, now, starts)) throw refused("records came back to these windows. Ask again");
      if (this.#windows.mayCount(now, look)) return;
      if (clock.monotonic() > until) throw refused(`${this.pipeline} does not commit now. Ask again`);
      await clock.sleep(REPAIR_LOOK_MS, signal);
    }
  }

  get #sizeMs(): number {
    return this.#options.plan.window.sizeMs;
  }

  #windowAt(ms: number): number {
    const { sizeMs, offsetMs } = this.#options.plan.window;
    return Number.isFinite(ms) ? tumblingStart(ms, sizeMs, offsetMs) : ms;
  }
}

function refused(why: string): UnavailableError {
  return new UnavailableError(`Nothing was repaired: ${why}`);
}

/** Whether a later commit judged the records of these windows as an earlier one. */
function isSameFor(before: Settled, now: Settled, starts: readonly number[]): boolean {
  if (before.generation !== now.generation) return false;
  return starts.every((start) => cameBackTo(start, before) === cameBackTo(start, now));
}

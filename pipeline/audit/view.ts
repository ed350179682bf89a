import type { DuckDBConnection } from "@duckdb/node-api";
import type { Clock } from "../clock.ts";
import type { CommittedLog } from "../log/transactions.ts";
import type { Plan } from "../plan/plan.ts";
import type { Settled } from "../runtime/settled.ts";
import type { Archive } from "../sinks/lake/archive/archive.ts";
import type { LakeDatabase } from "../sinks/lake/database.ts";
import type { Lake } from "../sinks/lake/lake.ts";
import { type ArchiveCut, cutArchive } from "./archive_cut.ts";
import type { JudgedTables } from "./expected_sql.ts";
import { judgedTables, rewoundDoubt } from "./judged.ts";
import { LettersAside } from "./letters_aside.ts";
import { Marks } from "./marks.ts";
import { type ReaderFields, readerFields } from "./reader_fields.ts";

/** A commit so old still does for a pass; for a newer one, what the archive has not committed is asked for. */
const RECENT_MS = 25_000;

/** All that a comparison goes by, at one moment: a commit, and the archive with all that the pipeline had read by then. */
export interface View {
  readonly connection: DuckDBConnection;
  readonly mark: Settled;
  readonly cut: ArchiveCut;
  readonly tables: JudgedTables;
  readonly fields: ReaderFields;
  /** Why what is computed may be wrong, for all windows; null when it is not. */
  readonly doubt: string | null;
  readonly signal: AbortSignal;
}

export interface ViewOptions {
  readonly plan: Plan;
  readonly archive: Pick<Archive, "topic" | "table" | "status" | "tail">;
  readonly lake: Lake;
  /** An audit's own: one thread, and little memory. */
  readonly database: LakeDatabase;
  readonly log: CommittedLog;
  readonly clock: Clock;
  readonly pipeline: { settled(): Settled | null };
}

export interface OpenOptions {
  /** Called after the commit was looked at: what it tells of is in the sinks by then. */
  readonly readOn: () => Promise<void>;
  /** Only a commit that was saved after this is enough, where a newer one can be had. */
  readonly sinceMs: number;
  readonly signal: AbortSignal;
}

/** Opens one view after the other, over one connection. */
export class Views {
  readonly marks = new Marks();
  readonly #options: ViewOptions;
  readonly #letters: LettersAside;
  #connection: DuckDBConnection | null = null;

  constructor(options: ViewOptions) {
    this.#options = options;
    this.#letters = new LettersAside(options.plan, options.log);
  }

  /**
   * Does something with a view, which is gone afterwards; gives what that gives, or why there is no view.
   *
   * @throws UnavailableError when brokers, lake or archive are away
   */
  async open(
    { readOn, sinceMs, signal }: OpenOptions,
    work: (view: View) => Promise<string | null>,
  ): Promise<string | null> {
    const { plan, pipeline, database, archive, lake } = this.#options;
    const settled = pipeline.settled();
    if (!settled) return "the pipeline has not committed anything since the start";
    this.marks.note(settled);
    const connection = this.#connection ??= await database.connect();
    await this.#letters.readOn(connection, signal);
    await readOn();
    const isEnough = (positions: ReadonlyMap<number, number>) => {
      const mark = this.marks.newest(positions);
      return mark !== null && (mark === settled || this.#isRecent(mark, sinceMs));
    };
    using cut = await cutArchive(plan, { archive, lake, topicId: settled.topicId, isEnough, signal });
    if (cut === null) return "the archive has nothing yet";
    const mark = this.marks.newest(cut.positions);
    if (mark === null) return "the archive has not come yet to where the pipeline's commits are";
    const fields = readerFields(plan, cut.snapshot.schema);
    if (fields.fault !== null) return `the archive does not hold what the pipeline reads: ${fields.fault}`;
    const doubt = cut.doubt ?? this.#letters.doubt ?? fields.doubt ?? rewoundDoubt(mark);
    const tables = await judgedTables(connection, mark, this.#letters.table);
    return await work({ connection, mark, cut, tables, fields, doubt, signal });
  }

  /** Breaks a query off that is under way. */
  interrupt(): void {
    this.#connection?.interrupt();
  }

  close(): void {
    this.#connection?.closeSync();
    this.#connection = null;
  }

  #isRecent({ savedAtMs }: Settled, sinceMs: number): boolean {
    return this.#options.clock.now() - savedAtMs <= RECENT_MS && savedAtMs > sinceMs;
  }
}

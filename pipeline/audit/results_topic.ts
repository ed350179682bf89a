import type { CommittedLog, CommittedRecord } from "../log/transactions.ts";
import type { ResultColumn } from "../plan/plan.ts";
import type { ResultRows, ResultValue } from "../sinks/sink.ts";
import type { WindowRange } from "./expected_sql.ts";
import { readResultRecord } from "./result_record.ts";

/** Final rows held until their windows are audited; beyond it, the oldest windows' are forgotten. */
export const FINAL_ROWS_MAX = 500_000;
/** A topic with no more records than this is read from its beginning; of a longer one only what comes after the start is audited. */
export const PAST_RECORDS_MAX = 200_000;

interface Final {
  readonly revision: number;
  readonly value: Uint8Array;
}

/**
 * The final rows in a results topic: of each key and window the one with the highest revision, until its window is audited. Reads
 * on from where it was, and holds a bounded number.
 */
export class ResultsTopic {
  readonly name: string;
  readonly #log: CommittedLog;
  readonly #pipeline: string;
  readonly #columns: readonly ResultColumn[];
  readonly #rowsMax: number;
  #positions: Map<number, number> | null = null;
  /** Windows that start before this had final rows before what was read began, or were forgotten. */
  #wholeFromMs = Infinity;
  /** By window and key. */
  readonly #windows = new Map<number, Map<string, Final>>();
  #held = 0;
  /** Windows that were audited: of those only what came since is here. */
  readonly #settled = new Set<number>();

  /** `rowsMax` instead of `FINAL_ROWS_MAX`. */
  constructor(
    log: CommittedLog,
    options: {
      readonly topic: string;
      readonly pipeline: string;
      readonly columns: readonly ResultColumn[];
      readonly rowsMax?: number;
    },
  ) {
    this.#log = log;
    this.name = options.topic;
    this.#pipeline = options.pipeline;
    this.#columns = options.columns;
    this.#rowsMax = options.rowsMax ?? FINAL_ROWS_MAX;
  }

  /** The first window whose rows are all here; Infinity before the first reading. */
  get wholeFromMs(): number {
    return this.#wholeFromMs;
  }

  /**
   * Reads on to the end. `nextWindowMs` says, when it is called, which windows have no final rows yet: those that start at or
   * after it.
   *
   * @throws UnavailableError when the brokers are away, or somebody's transaction stays open
   */
  async readOn({ nextWindowMs, signal }: { nextWindowMs: () => number; signal: AbortSignal }): Promise<void> {
    if (this.#positions === null) {
      const [first, end] = await Promise.all([
        this.#log.offsets(this.name, "earliest"),
        this.#log.offsets(this.name, "latest"),
      ]);
      const records = [...end].reduce((sum, [partition, to]) => sum + to - (first.get(partition) ?? 0), 0);
      const isWhole = records <= PAST_RECORDS_MAX && [...first.values()].every((offset) => offset === 0);
      this.#positions = new Map(isWhole ? first : end);
      this.#wholeFromMs = isWhole ? -Infinity : nextWindowMs();
    }
    const stopped = await this.#log.read(this.name, this.#positions, {
      signal,
      take: (record) => this.#take(record),
    });
    this.#positions = new Map(stopped);
    this.#forgetOldest();
  }

  /** The rows of the windows in a range. */
  rows({ fromMs, toMs }: WindowRange): ResultRows {
    const values: ResultValue[][] = this.#columns.map(() => []);
    for (const [start, finals] of this.#windows) {
      if (start < fromMs || start >= toMs) continue;
      for (const { value } of finals.values()) {
        const row = readResultRecord(this.#columns, value);
        if (row !== null) row.forEach((one, c) => values[c].push(one));
      }
    }
    return { columns: this.#columns, length: values[0].length, values };
  }

  /** Whether all final rows of a window are here, so that a row that is not here is missing. */
  isWhole(windowStartMs: number): boolean {
    return windowStartMs >= this.#wholeFromMs && !this.#settled.has(windowStartMs);
  }

  /** Lets go of a window's rows: they are as they must be. */
  settle(windowStartMs: number): void {
    this.#held -= this.#windows.get(windowStartMs)?.size ?? 0;
    this.#windows.delete(windowStartMs);
    if (windowStartMs >= this.#wholeFromMs) this.#settled.add(windowStartMs);
    if (this.#settled.size > this.#rowsMax) this.#settled.delete(this.#settled.values().next().value!);
  }

  /** Begins anew with what comes from here on: the pipeline was rewound. */
  reset(): void {
    this.#positions = null;
    this.#wholeFromMs = Infinity;
    this.#windows.clear();
    this.#settled.clear();
    this.#held = 0;
  }

  #take({ key, value, headers }: CommittedRecord): void {
    if (value === null) return;
    const text = (name: string) => {
      const found = headers.findLast(([known]) => known === name)?.[1];
      return found ? utf8.decode(found) : null;
    };
    if (text("final") !== "true" || text("pipeline") !== this.#pipeline) return;
    const [start, revision] = [Number(text("window_start") ?? NaN), Number(text("revision") ?? NaN)];
    if (Number.isNaN(start) || Number.isNaN(revision)) return;
    let finals = this.#windows.get(start);
    if (!finals) this.#windows.set(start, finals = new Map());
    const id = key === null ? "" : `k${latin.decode(key)}`;
    const known = finals.get(id);
    if (known && known.revision > revision) return;
    if (!known) this.#held++;
    finals.set(id, { revision, value });
  }

  #forgetOldest(): void {
    if (this.#held <= this.#rowsMax) return;
    for (const start of [...this.#windows.keys()].sort((a, b) => a - b)) {
      this.#held -= this.#windows.get(start)!.size;
      this.#windows.delete(start);
      this.#wholeFromMs = Math.max(this.#wholeFromMs, start + 1);
      if (this.#held <= this.#rowsMax) return;
    }
  }
}

const utf8 = new TextDecoder();
/** One character per byte, whatever the bytes. */
const latin = new TextDecoder("latin1");

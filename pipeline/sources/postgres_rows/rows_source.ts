/**
 * Reads a table: first the rows that are there, then those that change, each version of a row once.
 *
 * @module
 */
import type { Clock } from "../../clock.ts";
import type { RecordMaker } from "../record_maker.ts";
import type { ReadOptions, Rejected, Source, SourceBatch, SourcePosition, SourceRecord } from "../source.ts";
import { AHEAD_MAX, aheadFrom, type Origin, type Progress, stepsFrom, withStep } from "./progress.ts";
import {
  CHANGED,
  changesQuery,
  KEY,
  type Query,
  type QueryOptions,
  snapshotQuery,
  sweepQuery,
  withinQuery,
  XID,
} from "./queries.ts";
import type { Horizon, Server } from "./server.ts";
import type { Table } from "./table.ts";

/** One statement's snapshot keeps VACUUM from removing rows: after so long, what is left is read by another one. */
const STATEMENT_MS_MAX = 10 * 60_000;
/** A position that moved without rows is written so often. */
const IDLE_POSITION_MS = 10_000;
/** `low` goes in whole steps, so that few are remembered. */
const STEP_MS = 60_000;
/** How often it is looked who holds the horizon back. */
const WATCH_MS = 10_000;

/** It was open a moment ago, when the rows were read. */
const ENDED = "a transaction that is just ending";

type Row = readonly (string | null)[];

export interface RowsSourceOptions {
  readonly server: Server;
  readonly table: Table;
  readonly origin: Origin;
  /** As the definition names it, for messages. */
  readonly name: string;
  readonly maker: RecordMaker;
  readonly zone: string | null;
  readonly overlapMs: number;
  readonly everyMs: number;
  /** Null for never. */
  readonly sweepMs: number | null;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

export class RowsSource implements Source {
  readonly #options: RowsSourceOptions;
  readonly #query: QueryOptions;
  #progress: Progress | null = null;
  #lateRows = 0;
  #heldBack: string | null = null;

  constructor(options: RowsSourceOptions) {
    this.#options = options;
    this.#query = { table: options.table, zone: options.zone };
  }

  async *read(position: SourcePosition | null, options: ReadOptions): AsyncGenerator<SourceBatch> {
    const { everyMs } = this.#options;
    const { signal, clock, isBounded, onWaiting } = options;
    this.#progress = await this.#begin(position as unknown as Progress | null, options);
    let yieldedMs = clock.monotonic();
    let watchedMs = -Infinity;
    let isWaiting = false;
    let seen = "";
    const passed = (batch: SourceBatch) => {
      yieldedMs = clock.monotonic();
      return batch;
    };
    for await (const batch of this.#readSnapshot(options)) yield passed(batch);
    for (;;) {
      const beganMs = clock.monotonic();
      const horizon = await this.#options.server.horizon(signal);
      const isChanged = horizon.text !== seen || this.#progress.within !== null;
      if (isChanged) {
        for await (const batch of this.#look(horizon, options)) yield passed(batch);
        seen = horizon.text;
      }
      for await (const batch of this.#sweep(options)) yield passed(batch);
      const { ahead } = this.#progress;
      const isFull = ahead.length >= AHEAD_MAX;
      if (ahead.length === 0) this.#heldBack = null;
      else if (clock.monotonic() - watchedMs >= WATCH_MS || (isFull && !isWaiting)) {
        watchedMs = clock.monotonic();
        await this.#watch(signal);
        if (isFull) onWaiting(`rows of ${this.#options.name} wait for ${this.#heldBack ?? ENDED}`);
      }
      if (isWaiting && !isFull) onWaiting(null);
      isWaiting = isFull;
      const isDone = isBounded && !isFull && this.#progress.within === null;
      if (isDone || clock.monotonic() - yieldedMs >= IDLE_POSITION_MS) yield passed(this.#batch());
      if (isDone) return;
      const restMs = everyMs - (clock.monotonic() - beganMs);
      if (restMs > 0) await clock.sleep(restMs, signal);
    }
  }

  details(): Readonly<Record<string, string | number | boolean | null>> {
    const progress = this.#progress;
    return {
      table: this.#options.name,
      phase: progress?.snapshot ? "rows that were there" : "changes",
      hasIndex: this.#options.table.isIndexed,
      transactionsAhead: progress?.ahead.length ?? 0,
      heldBackBy: this.#heldBack,
      lateRows: this.#lateRows,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#options.server[Symbol.asyncDispose]();
  }

  /** Where to read on, which is not where it was when the server or the table is another one. */
  async #begin(before: Progress | null, { signal, clock }: ReadOptions): Promise<Progress> {
    const { server, origin, name, log } = this.#options;
    const horizon = await server.horizon(signal);
    const again = before === null ? null : whyAgain(before, { origin, horizon });
    if (before !== null && again === null) return { ...before, origin };
    if (again !== null) {
      log(
        "warn",
        `${name}: ${again.problem}; rows ${
          again.since ? `changed since ${again.since}` : "of the whole table"
        } are read again`,
      );
    }
    return {
      origin,
      snapshot: { kind: "snapshot", after: null, since: again?.since ?? null },
      settled: horizon.settled,
      ahead: [],
      within: null,
      steps: [[horizon.settled, this.#low(horizon)]],
      sweep: { from: horizon.settled, within: null, doneAtMs: clock.now() },
    };
  }

  async *#readSnapshot({ signal, clock }: ReadOptions): AsyncGenerator<SourceBatch> {
    const { table: { changed, key } } = this.#options;
    const { snapshot: first, settled } = this.#progress!;
    if (first === null) return;
    const withoutTime = changed.isNullable && first.since === null;
    for (const part of withoutTime ? ["timed", "untimed"] as const : ["timed"] as const) {
      for (let isWhole = false; !isWhole;) {
        const snapshot = this.#progress!.snapshot!;
        if (part === "timed" && snapshot.after !== null && snapshot.after.changed === null) break;
        const untilMs = clock.monotonic() + STATEMENT_MS_MAX;
        isWhole = true;
        for await (const rows of this.#rows(snapshotQuery(snapshot, { ...this.#query, settled, part }), signal)) {
          const last = rows.at(-1)!;
          const after = { changed: last[CHANGED], key: last.slice(KEY, KEY + key.length) as string[] };
          this.#move({ snapshot: { ...snapshot, after } });
          yield this.#batch(rows, clock);
          isWhole = clock.monotonic() < untilMs;
          if (!isWhole) break;
        }
      }
    }
    this.#move({ snapshot: null });
    yield this.#batch();
  }

  /** Reads the rows of transactions that have ended since the last look. */
  async *#look(horizon: Horizon, { signal, clock }: ReadOptions): AsyncGenerator<SourceBatch> {
    yield* this.#finishTransaction({ signal, clock });
    const { sweep, settled: before, steps } = this.#progress!;
    const kept = stepsFrom(steps, Math.min(before, sweep.from));
    this.#move({ steps: withStep(kept, horizon.next, this.#low(horizon)) });
    const start = this.#progress!;
    const done: number[] = [];
    const isRoom = start.ahead.length < AHEAD_MAX;
    const untilMs = clock.monotonic() + STATEMENT_MS_MAX;
    let current = -1;
    const query = changesQuery(start, isRoom ? horizon.next : horizon.settled, this.#query);
    if (horizon.next > before) {
      for await (const rows of this.#rows(query, signal)) {
        let taken = 0;
        for (; taken < rows.length; taken++) {
          const xid = Number(rows[taken][XID]);
          if (xid === current) continue;
          if (current >= horizon.settled) done.push(current);
          if (xid >= horizon.settled && start.ahead.length + done.length >= AHEAD_MAX) break;
          current = xid;
        }
        const isFull = taken < rows.length;
        const read = isFull ? rows.slice(0, taken) : rows;
        const settled = Math.min(current, horizon.settled);
        if (taken > 0 && !isFull) {
          const within = { xid: current, after: this.#keyOf(rows[taken - 1]) };
          this.#move({ settled, ahead: aheadFrom(settled, start.ahead, done), within });
        }
        if (isFull) {
          this.#move({ settled: horizon.settled, ahead: aheadFrom(horizon.settled, start.ahead, done), within: null });
        }
        yield this.#batch(read, clock);
        if (isFull) return;
        if (clock.monotonic() >= untilMs) return;
      }
    }
    if (current >= horizon.settled) done.push(current);
    this.#move({ settled: horizon.settled, ahead: aheadFrom(horizon.settled, start.ahead, done), within: null });
  }

  /** The rest of the transaction that a look was in the middle of: all its rows were visible then. */
  async *#finishTransaction({ signal, clock }: Pick<ReadOptions, "signal" | "clock">): AsyncGenerator<SourceBatch> {
    const { within, steps } = this.#progress!;
    if (within === null) return;
    for await (const rows of this.#rows(withinQuery(within, { ...this.#query, steps, isSweep: false }), signal)) {
      this.#move({ within: { xid: within.xid, after: this.#keyOf(rows.at(-1)!) } });
      yield this.#batch(rows, clock);
    }
    const { settled, ahead } = this.#progress!;
    this.#move({ within: null, ahead: aheadFrom(settled, ahead, [within.xid]) });
  }

  /** Looks at the whole table, when it is time, for rows that looks could not find. */
  async *#sweep({ signal, clock }: ReadOptions): AsyncGenerator<SourceBatch> {
    const { sweepMs, name, log } = this.#options;
    const { sweep, settled, steps } = this.#progress!;
    if (sweepMs === null || settled < sweep.from) {
      return this.#move({ sweep: { ...sweep, from: settled, within: null } });
    }
    if (clock.now() - sweep.doneAtMs < sweepMs) return;
    let found = 0;
    let first = "";
    const untilMs = clock.monotonic() + STATEMENT_MS_MAX;
    const queries = sweep.within === null ? ["all"] as const : ["within", "all"] as const;
    for (const which of queries) {
      const { sweep: { from, within, doneAtMs } } = this.#progress!;
      if (which === "all" && from >= settled) break;
      const query = which === "within"
        ? withinQuery(within!, { ...this.#query, steps, isSweep: true })
        : sweepQuery(this.#progress!, this.#query);
      for await (const rows of this.#rows(query, signal)) {
        const last = rows.at(-1)!;
        const xid = Number(last[XID]);
        this.#move({ sweep: { from: xid, within: { xid, after: this.#keyOf(last) }, doneAtMs } });
        first ||= this.#keyOf(rows[0]).join(", ");
        found += rows.length;
        this.#lateRows += rows.length;
        yield this.#batch(rows, clock);
        if (clock.monotonic() >= untilMs) return;
      }
      if (which === "within") this.#move({ sweep: { from: within!.xid + 1, within: null, doneAtMs } });
    }
    this.#move({ sweep: { from: settled, within: null, doneAtMs: clock.now() } });
    if (found > 0) {
      const { changed, key } = this.#options.table;
      log(
        "warn",
        `${name}: ${found} rows were written with a ${changed.name} that was too old to be looked for; they are read now ` +
          `(the first: ${
            key.map(({ name }) => name).join(", ")
          } ${first}). Set ${changed.name} at every change, or give ` +
          "the source a longer overlap",
      );
      yield this.#batch();
    }
  }

  async *#rows({ text, parameters }: Query, signal: AbortSignal): AsyncGenerator<readonly Row[]> {
    const { server, table } = this.#options;
    const query = server.sql.unsafe(text, parameters as string[]).values();
    const cursor = cursorOf(query as unknown as CursorQuery, table.batchRows);
    try {
      for (;;) {
        const rows = await server.ask(() => cursor.next(), signal);
        if (rows === null) return;
        if (rows.length > 0) yield rows;
      }
    } finally {
      cursor.close();
    }
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const holder = await this.#options.server.holder(signal);
    const since = holder === null || holder.seconds === null ? "" : ` for ${holder.seconds} s`;
    this.#heldBack = holder === null ? null : `${holder.who}, whose transaction is open${since}`;
  }

  #batch(rows: readonly Row[] = [], clock?: Clock): SourceBatch {
    const { table: { fields, key, changed }, maker, name } = this.#options;
    const records: SourceRecord[] = [];
    const rejected: Rejected[] = [];
    const nowMs = clock?.now() ?? 0;
    const start = KEY + key.length;
    for (const row of rows) {
      const value: Record<string, unknown> = {};
      for (let i = 0; i < fields.length; i++) {
        const text = row[start + i];
        value[fields[i].field] = text === null ? null : fields[i].fromText(text);
      }
      const made = maker.make(value, nowMs);
      if ("record" in made) records.push(made.record);
      else {
        const texts = Object.fromEntries(fields.map(({ field }, i) => [field, row[start + i]]));
        rejected.push({
          raw: new TextEncoder().encode(JSON.stringify(texts)),
          reason: made.reason,
          where: `${name}, ${key.map(({ name }, i) => `${name} ${row[KEY + i]}`).join(", ")}, ${changed.name} ${
            row[CHANGED]
          }`,
        });
      }
    }
    return { records, rejected, position: this.#progress! as unknown as SourcePosition };
  }

  #keyOf(row: Row): string[] {
    return row.slice(KEY, KEY + this.#options.table.key.length) as string[];
  }

  #move(changes: Partial<Progress>): void {
    this.#progress = { ...this.#progress!, ...changes };
  }

  /** Before the beginning of every transaction that was open, and the overlap before that. */
  #low({ oldest }: Horizon): string {
    const ms = Date.parse(oldest) - this.#options.overlapMs;
    return new Date(Math.floor(ms / STEP_MS) * STEP_MS).toISOString();
  }
}

/** Why numbers of transactions mean something else than they did; `since` where rows before that are still known to be read. */
function whyAgain(
  { origin: before, settled, steps }: Progress,
  { origin, horizon }: { readonly origin: Origin; readonly horizon: Horizon },
): { readonly problem: string; readonly since: string | null } | null {
  if (before.system !== origin.system) return { problem: "this is another server than before", since: null };
  if (before.oid !== origin.oid) return { problem: "the table was made anew", since: null };
  const since = stepsFrom(steps, settled)[0][1];
  if (before.timeline !== null && origin.timeline !== null && before.timeline !== origin.timeline) {
    return { problem: "a standby has taken over, or the server was restored", since };
  }
  if (settled > horizon.next) {
    return { problem: "the server has fewer transactions than before: it was restored", since };
  }
  return null;
}

/** What the client's types leave out. */
interface CursorQuery {
  cursor(rows: number): AsyncIterable<readonly Row[]>;
  /** The client calls it when the statement fails; the cursor sets it anew for each batch. */
  reject: (error: unknown) => void;
}

interface Cursor {
  /** The next rows, null at the end. */
  next(): Promise<readonly Row[] | null>;
  /** Gives the rest up. Not waited for: after a broken connection it would never end. */
  close(): void;
}

/**
 * A cursor that fails when its connection is lost. While nobody waits for a batch that of postgres.js 3.4.9 does not: it says that
 * there are no further rows, which would be passed over so, and closing it then ends the process.
 */
function cursorOf(query: CursorQuery, rows: number): Cursor {
  const cursor = query.cursor(rows)[Symbol.asyncIterator]();
  let failure: { readonly error: unknown } | null = null;
  return {
    async next() {
      const coming = cursor.next();
      const { reject } = query;
      query.reject = (error) => {
        failure ??= { error };
        reject(error);
      };
      const { done, value } = await coming;
      if (done && failure !== null) throw failure.error;
      return done ? null : value;
    },
    close() {
      if (failure === null) Promise.resolve(cursor.return?.()).catch(() => {});
    },
  };
}

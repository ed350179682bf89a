/**
 * A plan's results over archived records, each record judged as the pipeline would have judged it: late by the watermark of its own
 * partition, which the records before it in the log have moved.
 *
 * The watermark is found without sorting. One pass notes, for every partition, the first offset in each window of event time less
 * lateness (`spans`); the least of these from a window's end on is where it closed:
 *
 *     closed(p, W) = min { offset | event time - lateness >= end of W }       late: offset > closed(p, W)
 *
 * A record that was brought back (see `runtime/redrive_headers.ts`) counts if it was brought back for this pipeline, and its
 * original is set aside here, too; and of several for one original the first does.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { Redriven } from "../checkpoint/checkpoint.ts";
import { AHEAD_MS_MAX, TIME_RANGE_MS } from "../operators/window_aggregate.ts";
import { duckdbSql } from "../plan/duckdb_sql.ts";
import { type Plan, type ResultColumn, resultColumns } from "../plan/plan.ts";
import { REDRIVE_OFFSET, REDRIVE_PIPELINE } from "../runtime/redrive_headers.ts";
import { IS_NOT } from "../sinks/lake/columns/held_texts.ts";
import type { LakeDatabase } from "../sinks/lake/database.ts";
import { type ResultRows, type ResultValue, REVISIONS_PER_GENERATION } from "../sinks/sink.ts";
import { identifier, literal } from "../sql_text.ts";
import type { ArchivedTopic, TimeRange } from "./archived_topic.ts";
import { type TypedColumns, typedColumns } from "./typed_columns.ts";

type Connection = Awaited<ReturnType<LakeDatabase["connect"]>>;

/** Rows given at a time. */
export const ROWS_AT_A_TIME = 20_000;

/** Not a name that a result can have. */
const RECORDS = "records of the row";

/** What is added to the archive's columns, under names that no field can have. */
const P = '"the partition"';
const O = '"the offset"';
/** Event time in milliseconds; null where there is no usable one. */
const MS = '"event ms"';
/** The record's own timestamp. */
const OWN_MS = '"own ms"';
const IS_TOMBSTONE = '"is tombstone"';
/** The offset at which the record's window closed in its partition; null where it has not. */
const CLOSED = '"closed at"';
/** Of records that were brought back: their offset, and whether they count. */
const BACK = '"back at"';
const BACK_COUNTS = '"back counts"';

/** What is archived of one partition. Times are milliseconds since the epoch. */
export interface ArchivedPartition {
  readonly partition: number;
  readonly first: number;
  readonly firstEventMs: number | null;
  readonly maxEventMs: number | null;
  readonly lastTimestampMs: number | null;
}

/** Where archived records ended, in windows of a range: `records` is the sum of the others. */
export interface Judgement {
  readonly records: number;
  readonly aggregated: number;
  readonly filtered: number;
  readonly late: number;
  /** Brought back, and counted by their original or by another pipeline. */
  readonly duplicate: number;
}

export interface JudgeOptions {
  readonly database: LakeDatabase;
  readonly signal: AbortSignal;
  /** Reads only records of this time or later: windows that start at or after it are judged. All unless told. */
  readonly sinceMs?: number;
}

export class JudgedArchive implements Disposable {
  /** Why what is read may not be what the pipeline read; null when it is the same. */
  readonly doubt: string | null;
  readonly #plan: Plan;
  readonly #archive: ArchivedTopic;
  readonly #connection: Connection;
  readonly #signal: AbortSignal;
  readonly #columns: TypedColumns;
  readonly #onAbort: () => void;
  #hasBacks = false;

  /** Use `judge`. */
  constructor(plan: Plan, archive: ArchivedTopic, { connection, signal }: {
    readonly connection: Connection;
    readonly signal: AbortSignal;
  }) {
    this.#plan = plan;
    this.#archive = archive;
    this.#connection = connection;
    this.#signal = signal;
    this.#columns = typedColumns(plan, archive.schema, archive.table);
    this.doubt = this.#columns.doubt;
    this.#onAbort = () => connection.interrupt();
    signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  /**
   * Reads all of the archive once.
   *
   * @throws ConfigError when it lacks a field of the plan, or the plan has `dedupe`
   */
  static async judge(
    plan: Plan,
    archive: ArchivedTopic,
    { database, signal, sinceMs }: JudgeOptions,
  ): Promise<JudgedArchive> {
    if (plan.dedupe !== null) {
      throw new ConfigError({
        where: plan.name,
        problem: "has dedupe, which looks at records one after the other: only the log can be read like that. " +
          `Use tailrace rewind ${plan.name} for what the log still holds`,
      });
    }
    const connection = await database.connect();
    try {
      const judged = new JudgedArchive(plan, archive, { connection, signal });
      await judged.#read(sinceMs);
      return judged;
    } catch (error) {
      connection.closeSync();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#signal.removeEventListener("abort", this.#onAbort);
    this.#connection.closeSync();
  }

  async #read(sinceMs?: number): Promise<void> {
    const { allowedLatenessMs } = this.#plan;
    await this.#run(`CREATE TEMP TABLE spans (
      p INTEGER, w BIGINT, c BIGINT, first_offset BIGINT, last_offset BIGINT, n BIGINT, min_ms BIGINT, max_ms BIGINT)`);
    await this.#run(`CREATE TEMP TABLE partitions (
      p INTEGER, first_offset BIGINT, first_timed BIGINT, first_ms BIGINT, last_timestamp_ms BIGINT, n BIGINT)`);
    await this.#run(`CREATE TEMP TABLE backs (
      p INTEGER, o BIGINT, source BIGINT, owner VARCHAR, w BIGINT, counts BOOLEAN)`);
    await this.#eachPart(sinceMs, async (records) => {
      await this.#run(`INSERT INTO backs SELECT ${P}, ${O}, source, owner, ${this.#windowSql(MS)}, false FROM (
        SELECT ${P}, ${O}, ${MS}, TRY_CAST(${headerSql(REDRIVE_OFFSET)} AS BIGINT) AS source,
          ${headerSql(REDRIVE_PIPELINE)} AS owner FROM ${records}
        WHERE kafka_headers IS NOT NULL AND regexp_full_match(${headerSql(REDRIVE_OFFSET)}, '[0-9]{1,15}'))
        WHERE source < ${O}`);
      const [[back]] = await this.#rows(`SELECT count(*) FROM backs WHERE ${this.#isOthers()}`);
      // Almost always there are none, and then nothing has to be looked for.
      const others = Number(back) === 0
        ? ""
        : `AND (${P}, ${O}) NOT IN (SELECT (p, o) FROM backs WHERE ${this.#isOthers()})`;
      await this.#run(`INSERT INTO spans SELECT ${P}, ${this.#windowSql(MS)},
        ${this.#windowSql(`(${MS} - ${allowedLatenessMs})`)}, min(${O}), max(${O}), count(*), min(${MS}), max(${MS})
        FROM ${records} WHERE ${MS} IS NOT NULL ${others} GROUP BY ALL`);
      await this.#run(`INSERT INTO partitions SELECT ${P}, min(${O}), min(${O}) FILTER (${MS} IS NOT NULL),
        arg_min(${MS}, ${O}) FILTER (${MS} IS NOT NULL), max(${OWN_MS}), count(*) FROM ${records} GROUP BY ${P}`);
    });
    await this.#run(`CREATE TEMP TABLE closings AS
      WITH steps AS (SELECT p, c, min(min(first_offset)) OVER (PARTITION BY p ORDER BY c DESC) AS o FROM spans GROUP BY p, c),
        windows AS (SELECT DISTINCT p, w FROM spans)
      SELECT windows.p, windows.w, steps.o AS closed FROM windows
      ASOF JOIN steps ON windows.p = steps.p AND windows.w + ${this.#plan.window.sizeMs} <= steps.c`);
    await this.#judgeBacks(sinceMs);
  }

  /** An earlier record has an earlier time: it closes no window that starts later. */
  async #eachPart(sinceMs: number | undefined, work: (records: string) => Promise<void>): Promise<void> {
    if (sinceMs === undefined) return await this.#archive.eachPart((relation) => work(this.#timed(relation)));
    const field = this.#plan.fields[this.#plan.eventTime].path;
    const since = { fromMs: sinceMs, toMs: Infinity };
    await this.#archive.within(
      { ...since, field },
      (relation) => work(`(SELECT * FROM ${this.#timed(relation, since)} WHERE ${MS} >= ${sinceMs})`),
    );
  }

  /** Of those brought back for this pipeline, the first of each original that is set aside here. */
  async #judgeBacks(sinceMs: number | undefined): Promise<void> {
    const [[backs]] = await this.#rows("SELECT count(*) FROM backs");
    this.#hasBacks = Number(backs) > 0;
    if (!this.#hasBacks) return;
    await this.#run("CREATE TEMP TABLE counted_sources (p INTEGER, o BIGINT)");
    await this.#eachPart(sinceMs, async (records) => {
      await this.#run(`INSERT INTO counted_sources SELECT ${P}, ${O} FROM ${records} AS r
        LEFT JOIN closings AS c ON c.p = ${P} AND c.w = ${this.#windowSql(MS)}
        WHERE (${P}, ${O}) IN (SELECT (p, source) FROM backs)
          AND (${IS_TOMBSTONE} OR ${MS} IS NOT NULL AND (c.closed IS NULL OR ${O} < c.closed))`);
    });
    await this.#run(`UPDATE backs SET counts = true WHERE w IS NOT NULL AND NOT (${this.#isOthers()})
      AND (p, source) NOT IN (SELECT (p, o) FROM counted_sources)
      AND (p, o) IN (SELECT (p, min(o)) FROM backs WHERE w IS NOT NULL AND NOT (${this.#isOthers()}) GROUP BY p, source)`);
  }

  /** What is archived, by partition. */
  async partitions(): Promise<ArchivedPartition[]> {
    const rows = await this.#rows(`SELECT p, min(first_offset), arg_min(first_ms, first_timed),
      (SELECT max(max_ms) FROM spans WHERE spans.p = partitions.p), max(last_timestamp_ms)
      FROM partitions GROUP BY p ORDER BY p`);
    return rows.map(([partition, first, firstEventMs, maxEventMs, lastTimestampMs]) => ({
      partition: Number(partition),
      first: Number(first),
      firstEventMs: numberOrNull(firstEventMs),
      maxEventMs: numberOrNull(maxEventMs),
      lastTimestampMs: numberOrNull(lastTimestampMs),
    }));
  }

  /** The least event time; null where no record has one. */
  async earliestMs(): Promise<number | null> {
    const [[least]] = await this.#rows("SELECT min(min_ms) FROM spans");
    return numberOrNull(least);
  }

  /** By partition, the first offset whose window starts at or after a time, and the largest event time that may lie before it. */
  async firstOffsets(
    startMs: number,
  ): Promise<Map<number, { readonly offset: number | null; readonly maxEventMs: number | null }>> {
    const rows = await this.#rows(`WITH firsts AS (
        SELECT p, min(first_offset) FILTER (w >= ${startMs}) AS o FROM spans GROUP BY p)
      SELECT p, any_value(o), max(max_ms) FILTER (w < ${startMs} AND (o IS NULL OR first_offset < o))
      FROM spans JOIN firsts USING (p) GROUP BY p`);
    return new Map(rows.map(([p, offset, max]) => [
      Number(p),
      { offset: numberOrNull(offset), maxEventMs: numberOrNull(max) },
    ]));
  }

  /** Windows with records in a range, in order, and how many records each has. */
  async windows({ fromMs, toMs }: TimeRange): Promise<{ readonly startMs: number; readonly records: number }[]> {
    const rows = await this.#rows(
      `SELECT w, sum(n) FROM spans WHERE w >= ${fromMs} AND w < ${toMs} GROUP BY w ORDER BY w`,
    );
    return rows.map(([w, n]) => ({ startMs: Number(w), records: Number(n) }));
  }

  /** How many records have no place in any window: undecodable, without a usable event time, or tombstones. */
  async unplaced(): Promise<number> {
    const [[all], [timed]] = await this.#rows(
      `SELECT sum(n) FROM partitions UNION ALL
        SELECT (SELECT coalesce(sum(n), 0) FROM spans) + (SELECT count(*) FROM backs WHERE w IS NOT NULL AND ${this.#isOthers()})`,
    );
    return Number(all ?? 0) - Number(timed ?? 0);
  }

  /** Records that were brought back and count in windows of a range. */
  async redriven({ fromMs, toMs }: TimeRange): Promise<(Redriven & { readonly partition: number })[]> {
    const rows = await this.#rows(
      `SELECT p, source, o, w FROM backs WHERE counts AND w >= ${fromMs} AND w < ${toMs} ORDER BY p, o`,
    );
    return rows.map(([partition, source, offset, w]) => ({
      partition: Number(partition),
      source: Number(source),
      offset: Number(offset),
      windowStartMs: Number(w),
    }));
  }

  /** How many rows the windows of a range have, and where their records ended. Whole windows only. */
  async judgement(range: TimeRange): Promise<Judgement & { readonly rows: number }> {
    return await this.#computed(range, async (table) => {
      const [[rows, aggregated]] = await this.#rows(
        `SELECT count(*), coalesce(sum(${identifier(RECORDS)}), 0) FROM ${table}`,
      );
      return { rows: Number(rows), ...await this.#fates(range, Number(aggregated)) };
    });
  }

  /**
   * Final rows of the windows of a range, in order of windows, `ROWS_AT_A_TIME` at a time; returns where their records ended.
   * Whole windows only.
   *
   * @throws ConfigError when SQL cannot compute a value, such as a sum beyond its type
   */
  async *rows(
    range: TimeRange,
    { generation }: { readonly generation: number },
  ): AsyncGenerator<ResultRows, Judgement> {
    const columns = resultColumns(this.#plan);
    const firstRevision = BigInt(generation) * BigInt(REVISIONS_PER_GENERATION);
    const selected = columns.map((column) => `${shownSql(column, firstRevision)} AS ${identifier(column.name)}`);
    await this.#begin(range);
    try {
      const [[total, aggregated]] = await this.#rows(
        `SELECT count(*), coalesce(sum(${identifier(RECORDS)}), 0) FROM computed`,
      );
      let given = 0;
      const result = await this.#ask(() =>
        this.#connection.stream(`SELECT ${selected.join(", ")} FROM computed ORDER BY window_start`)
      );
      let values: ResultValue[][] = columns.map(() => []);
      for (;;) {
        const chunk = await this.#ask(() => result.fetchChunk());
        if (chunk === null || chunk.rowCount === 0) break;
        chunk.getColumns().forEach((some, column) => {
          for (const value of some) values[column].push(plain(value as ResultValue));
        });
        given += chunk.rowCount;
        if (values[0].length < ROWS_AT_A_TIME) continue;
        yield { columns, length: values[0].length, values };
        values = columns.map(() => []);
      }
      // A stream that fails in its middle ends there without a word.
      if (given !== Number(total)) throw new Error(`DuckDB gave ${given} of ${total} rows: this is a bug`);
      if (values[0].length > 0) yield { columns, length: values[0].length, values };
      return await this.#fates(range, Number(aggregated));
    } finally {
      await this.#connection.run("DROP TABLE IF EXISTS computed").catch(() => {});
    }
  }

  /** Keeps the rows of a range as a table of this connection, as DuckDB's types have them; `RECORDS` counts each row's records. */
  async keep(name: string, range: TimeRange): Promise<Judgement> {
    await this.#begin(range, name);
    const [[aggregated]] = await this.#rows(`SELECT coalesce(sum(${identifier(RECORDS)}), 0) FROM ${identifier(name)}`);
    return await this.#fates(range, Number(aggregated));
  }

  /** For questions over tables that were kept. */
  get connection(): Connection {
    return this.#connection;
  }

  async #computed<T>(range: TimeRange, work: (table: string) => Promise<T>): Promise<T> {
    await this.#begin(range);
    try {
      return await work("computed");
    } finally {
      await this.#connection.run("DROP TABLE IF EXISTS computed").catch(() => {});
    }
  }

  /** Into a table first: what fails in the middle of a stream is not told. */
  async #begin(range: TimeRange, table = "computed"): Promise<void> {
    const counted = withCount(this.#plan);
    await this.#within(range, async (relation) => {
      await this.#run(
        `CREATE OR REPLACE TEMP TABLE ${identifier(table)} AS ${
          duckdbSql(counted, `(SELECT ${this.#columns.sql} FROM ${relation} AS a WHERE ${this.#inTime()})`)
        }`,
      );
    });
  }

  /** Where the records of a range ended, given how many are in the rows. */
  async #fates(range: TimeRange, aggregated: number): Promise<Judgement> {
    const { where } = this.#plan;
    const [[records]] = await this.#rows(
      `SELECT coalesce(sum(n), 0) FROM spans WHERE w >= ${range.fromMs} AND w < ${range.toMs}`,
    );
    const late = await this.#within(range, async (relation) => {
      const selected =
        `SELECT ${this.#columns.sql} FROM ${relation} AS a WHERE NOT (${this.#inTime()}) AND ${BACK} IS NULL`;
      const [[n]] = await this.#rows(
        `SELECT count(*) FROM (${selected}) AS source${where === null ? "" : ` WHERE (${where.sql}\n)`}`,
      );
      return Number(n);
    });
    const [[duplicate]] = await this.#rows(`SELECT count(*) FROM backs WHERE NOT counts AND NOT (${this.#isOthers()})
      AND w >= ${range.fromMs} AND w < ${range.toMs}`);
    const rest = Number(records) - aggregated - late - Number(duplicate);
    return { records: Number(records), aggregated, late, duplicate: Number(duplicate), filtered: rest };
  }

  /** Records of a range, with what decides whether they count. */
  async #within<T>(range: TimeRange, work: (relation: string) => Promise<T>): Promise<T> {
    const field = this.#plan.fields[this.#plan.eventTime].path;
    return await this.#archive.within({ ...range, field }, async (relation) => {
      const back = this.#hasBacks ? "b.o" : "NULL";
      const counts = this.#hasBacks ? "b.counts" : "false";
      return await work(`(SELECT r.*, c.closed AS ${CLOSED}, ${back} AS ${BACK}, ${counts} AS ${BACK_COUNTS}
        FROM ${this.#timed(relation, range)} AS r
        LEFT JOIN closings AS c ON c.p = ${P} AND c.w = ${this.#windowSql(MS)}
        ${this.#hasBacks ? `LEFT JOIN backs AS b ON b.p = ${P} AND b.o = ${O}` : ""}
        WHERE ${MS} >= ${range.fromMs} AND ${MS} < ${range.toMs})`);
    });
  }

  #inTime(): string {
    return `CASE WHEN ${BACK} IS NULL THEN ${CLOSED} IS NULL OR ${O} < ${CLOSED} ELSE ${BACK_COUNTS} END`;
  }

  #isOthers(): string {
    return `owner IS NOT NULL AND owner <> ${literal(this.#plan.name)}`;
  }

  /** The archive's columns, and those added to every record. */
  #timed(relation: string, range?: TimeRange): string {
    const { path, type } = this.#plan.fields[this.#plan.eventTime];
    const { eventTime, isInstant } = this.#columns;
    const ms = type.type === "long"
      ? eventTime
      : type.type === "date"
      ? `CAST(${eventTime} - DATE '1970-01-01' AS BIGINT) * 86400000`
      // Whole milliseconds, also before 1970.
      : `(epoch_us(${eventTime}) - ((epoch_us(${eventTime}) % 1000) + 1000) % 1000) // 1000`;
    // On the column itself, so that row groups are passed over.
    const raw = `a.${path.split(".").map(identifier).join(".")}`;
    const bounds = range && isInstant
      ? `AND ${raw} >= ${instantSql(range.fromMs)}${
        Number.isFinite(range.toMs) ? ` AND ${raw} < ${instantSql(range.toMs)}` : ""
      }`
      : "";
    const { least, most } = TIME_RANGE_MS;
    // Without a key, or a time that is shown, it is set aside. Whatever else the archive could not keep of it, it counts.
    const { fields, groupBy, accumulators } = this.#plan;
    const shown = accumulators.filter(({ kind }) => kind === "min" || kind === "max").map(({ field }) => field!);
    const lacks = [...groupBy.map(({ field }) => field), ...shown].map((field) =>
      `contains(a.kafka_fault, ${literal(`${fields[field].path} ${IS_NOT} `)})`
    );
    const counts = [`${raw} IS NOT NULL`, ...lacks.map((lack) => `NOT ${lack}`)].join(" AND ");
    return `(SELECT * REPLACE (CASE WHEN ${MS} BETWEEN ${least} AND ${most}
          AND (${OWN_MS} IS NULL OR ${OWN_MS} < 0 OR ${MS} <= ${OWN_MS} + ${AHEAD_MS_MAX}) THEN ${MS} END AS ${MS})
      FROM (SELECT *, kafka_partition AS ${P}, kafka_offset AS ${O}, epoch_ms(kafka_timestamp) AS ${OWN_MS},
          CASE WHEN a.kafka_fault IS NULL OR (${counts}) THEN ${ms} END AS ${MS},
          kafka_fault IS NULL AND kafka_schema_id IS NULL AS ${IS_TOMBSTONE}
        FROM ${relation} AS a WHERE kafka_topic = ${literal(this.#archive.topic)} ${bounds}))`;
  }

  #windowSql(ms: string): string {
    const { sizeMs, offsetMs } = this.#plan.window;
    return `(${ms} - (((${ms} - ${offsetMs}) % ${sizeMs}) + ${sizeMs}) % ${sizeMs})`;
  }

  async #run(sql: string): Promise<void> {
    await this.#ask(() => this.#connection.run(sql));
  }

  async #rows(sql: string): Promise<readonly (readonly unknown[])[]> {
    return (await this.#ask(() => this.#connection.runAndReadAll(sql))).getRows();
  }

  async #ask<T>(work: () => Promise<T>): Promise<T> {
    this.#signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      if (this.#signal.aborted) throw this.#signal.reason;
      throw sorted(error as Error, this.#plan);
    }
  }
}

/** What DuckDB cannot compute of these records is the definition's to mend; anything else is ours. */
function sorted(error: Error, plan: Plan): Error {
  const [line] = error.message.split("\n");
  if (/^(Out of Range|Conversion|Invalid Input) Error/.test(line)) {
    return new ConfigError({ where: plan.name, problem: `cannot be computed over the archive: ${line}` });
  }
  if (line.startsWith("Out of Memory Error")) {
    return new ConfigError({
      where: plan.name,
      problem: `needs more memory over the archive than the lake may use: ${line}. Take a shorter time`,
    });
  }
  return error;
}

/** The plan with one more column: how many records a row was computed from. */
function withCount(plan: Plan): Plan {
  const accumulators = [...plan.accumulators, { kind: "count" as const, field: null }];
  const count = {
    name: RECORDS,
    aggregate: "count" as const,
    accumulators: [accumulators.length - 1],
    type: { type: "long" as const, nullable: false },
  };
  return { ...plan, accumulators, select: [...plan.select, count] };
}

/** A column of a computed row as a `ResultValue`; longs and their like come as bigint. */
function shownSql({ name, type, role }: ResultColumn, firstRevision: bigint): string {
  if (role === "revision") return `CAST(${firstRevision} + ${identifier(RECORDS)} AS BIGINT)`;
  if (role === "final") return "true";
  const column = identifier(name);
  switch (type.type) {
    case "decimal":
      return `CAST(${column} AS VARCHAR)`;
    case "timestamp-millis":
      return `epoch_ms(${column})`;
    case "timestamp-micros":
      return `epoch_us(${column})`;
    case "date":
      return `CAST(${column} - DATE '1970-01-01' AS INTEGER)`;
    case "time-millis":
      return `epoch_us(${column}) // 1000`;
    case "time-micros":
      return `epoch_us(${column})`;
    default:
      return column;
  }
}

function plain(value: ResultValue): ResultValue {
  if (typeof value !== "bigint") return value;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function headerSql(name: string): string {
  return `CAST(list_extract([h.value FOR h IN kafka_headers IF h.key = ${literal(name)}], -1) AS VARCHAR)`;
}

function instantSql(ms: number): string {
  return `make_timestamptz(${Math.round(ms * 1000)})`;
}

function numberOrNull(value: unknown): number | null {
  return value === null || value === undefined ? null : Number(value);
}

/**
 * What the records of the topic give, computed by DuckDB from the rules as documented: which record is dead, filtered, late or a
 * duplicate, and the windows of those that count. Nothing of the engine is used, not even its plan.
 *
 * @module
 */
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { MadeRecord } from "./records.ts";

/** The rules of a definition in streams/. */
export interface Rules {
  readonly pipeline: string;
  readonly latenessMs: number;
  readonly windowMs: number;
  /** Records with an id seen before in their partition do not count. */
  readonly dedupe: boolean;
}

export const PLAIN: Rules = { pipeline: "faults_plain", latenessMs: 60_000, windowMs: 10_000, dedupe: false };
export const LATE: Rules = { pipeline: "faults_late", latenessMs: 5_000, windowMs: 10_000, dedupe: true };

/** One result row. */
export interface Row {
  readonly n: number;
  readonly totalCents: number;
  readonly mean: number;
  readonly largestCents: number;
  readonly final: boolean;
}

/** Rows by `account windowStartMs`. */
export type Rows = Map<string, Row>;

/** A record that must be in a companion topic. */
export interface Aside {
  readonly why: "late" | "dead";
  readonly partition: number;
  readonly offset: number;
  readonly n: number;
}

export interface Expectation {
  readonly rows: Rows;
  readonly aside: readonly Aside[];
  readonly buckets: Readonly<Record<"aggregated" | "filtered" | "late" | "dead" | "duplicate", number>>;
}

/** All records of the topic that were read back so far. */
export class ReadBack implements Disposable {
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;
  readonly #file: string;
  count = 0;

  private constructor(instance: DuckDBInstance, connection: DuckDBConnection, file: string) {
    this.#instance = instance;
    this.#connection = connection;
    this.#file = file;
  }

  static async open(file: string): Promise<ReadBack> {
    const instance = await DuckDBInstance.create(":memory:", { threads: "1" });
    const connection = await instance.connect();
    await connection.run(
      `CREATE TABLE log ("partition" INTEGER, "offset" BIGINT, n BIGINT, nature VARCHAR, id VARCHAR, account VARCHAR,
        status VARCHAR, cents BIGINT, event_ms BIGINT, timestamp_ms BIGINT, record_key VARCHAR, value_md5 VARCHAR)`,
    );
    await connection.run("SET TimeZone = 'UTC'");
    return new ReadBack(instance, connection, file);
  }

  /** Where the table `log` is that has all of them. */
  get connection(): DuckDBConnection {
    return this.#connection;
  }

  async add(
    records: readonly (MadeRecord & { readonly offset: number; readonly timestampMs: number })[],
  ): Promise<void> {
    if (records.length === 0) return;
    const lines = records.map(({ partition, offset, n, nature, transaction, timestampMs, key, value }) => {
      const { id = "", account = "", status = "", cents = "", eventMs = "" } = transaction ?? {};
      const digest = value === null ? "" : createHash("md5").update(value).digest("hex");
      const raw = [timestampMs, Buffer.from(key).toString(), digest];
      return [partition, offset, n, nature, id, account, status, cents, eventMs, ...raw].join(",");
    });
    await Deno.writeTextFile(this.#file, lines.join("\n"));
    await this.#connection.run(`COPY log FROM '${this.#file}' (FORMAT csv, HEADER false)`);
    this.count += records.length;
  }

  async expect(rules: Rules): Promise<Expectation> {
    const { latenessMs, windowMs, dedupe } = rules;
    await this.#connection.run(`CREATE OR REPLACE TEMP TABLE judged AS
      WITH timed AS (
        SELECT *, event_ms - event_ms % ${windowMs} AS window_ms,
          max(event_ms) OVER (PARTITION BY "partition" ORDER BY "offset") - ${latenessMs} AS watermark
        FROM log
      ), sorted AS (
        SELECT *, CASE
          WHEN nature = 'empty' THEN 'filtered'
          WHEN nature <> 'good' THEN 'dead'
          WHEN NOT (status = 'approved' AND cents > 0) THEN 'filtered'
          WHEN window_ms + ${windowMs} <= watermark THEN 'late'
          ELSE 'aggregated' END AS first_bucket
        FROM timed
      )
      SELECT *, CASE
        WHEN ${dedupe} AND first_bucket = 'aggregated'
          AND row_number() OVER (PARTITION BY "partition", id, first_bucket ORDER BY "offset") > 1 THEN 'duplicate'
        ELSE first_bucket END AS bucket
      FROM sorted`);
    const rows: Rows = new Map();
    for (
      const [account, window, n, total, mean, largest, final] of await this.#all(`
        WITH ends AS (
          SELECT CASE WHEN count(DISTINCT "partition") = 4 THEN min(watermark) END AS least FROM (
            SELECT "partition", max(event_ms) - ${latenessMs} AS watermark FROM log WHERE nature = 'good' GROUP BY ALL
          )
        )
        SELECT account, window_ms, count(*), sum(cents)::BIGINT, sum(cents)::DOUBLE / (count(*) * 1e2), max(cents),
          coalesce(window_ms + ${windowMs} <= (SELECT least FROM ends), false)
        FROM judged WHERE bucket = 'aggregated' GROUP BY account, window_ms`)
    ) {
      rows.set(`${account} ${window}`, {
        n: Number(n),
        totalCents: Number(total),
        mean: mean as number,
        largestCents: Number(largest),
        final: final as boolean,
      });
    }
    const aside = (await this.#all(
      `SELECT bucket, "partition", "offset", n FROM judged WHERE bucket IN ('late', 'dead')`,
    )).map(([why, partition, offset, n]) => ({
      why: why as Aside["why"],
      partition: Number(partition),
      offset: Number(offset),
      n: Number(n),
    }));
    const buckets = { aggregated: 0, filtered: 0, late: 0, dead: 0, duplicate: 0 };
    for (const [bucket, count] of await this.#all("SELECT bucket, count(*) FROM judged GROUP BY bucket")) {
      buckets[bucket as keyof typeof buckets] = Number(count);
    }
    return { rows, aside, buckets };
  }

  async #all(sql: string) {
    return (await this.#connection.runAndReadAll(sql)).getRows();
  }

  [Symbol.dispose](): void {
    this.#connection.closeSync();
    this.#instance.closeSync();
  }
}
